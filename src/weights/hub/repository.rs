//! Names of repositories.

use std::fmt;

use super::Error;

/// A repository of models at one of its revisions.
pub(super) struct Repository<'a> {
    /// `OWNER/NAME`.
    pub(super) name: &'a str,
    /// Branch, tag or commit.
    pub(super) revision: &'a str,
}

impl<'a> Repository<'a> {
    /// Reads `OWNER/NAME[@REVISION]`. Both parts end up in paths and URLs, so only characters that the hub and git
    /// allow are accepted.
    pub(super) fn parse(text: &'a str) -> Result<Self, Error> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let named = name.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name));
        let revised = revision.split('/').all(is_part);
        if named && revised { Ok(Self { name, revision }) } else { Err(Error::Name { text: text.to_owned() }) }
    }

    /// Whether the revision is a commit: all 40 digits of it.
    pub(super) fn is_commit(&self) -> bool {
        is_hex(self.revision, 40)
    }
}

/// Whether a part of a name is valid, and does not lead out of a folder.
fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !part.is_empty() && part.len() <= 96 && part.chars().all(allowed) && !part.contains("..") && part != "."
}

/// Whether a text is a number of `digits` hexadecimal digits, as git and the hub write it.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl fmt::Display for Repository<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.revision)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_owner_and_may_have_a_revision() {
        let parsed = |text| Repository::parse(text).map(|r| (r.name, r.revision, r.is_commit())).unwrap();
        assert_eq!(parsed("timm/resnetrs50.tf_in1k"), ("timm/resnetrs50.tf_in1k", "main", false));
        assert_eq!(parsed("acme/small@refs/pr/1"), ("acme/small", "refs/pr/1", false));
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(parsed(&format!("acme/small@{commit}")), ("acme/small", commit, true));
        for text in [
            "",
            "small",
            "/small",
            "acme/",
            "acme/small/x",
            "acme/../x",
            "acme/small@",
            "a b/c",
            "acme/small@../../x",
            "acme/.",
            "acme/small@/main",
            "http://acme/small",
            "acme/small@main@main",
            "acme/sm\u{e4}ll",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
    }
}
