//! A trained network and everything else that commands need, in a temporary folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use resnet_rs::weights::{HostTensor, StateDict};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{program, said, succeed, words};

/// A folder with a trained network, data, and damaged copies of them.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    /// The header of the weights and the bytes that follow it.
    header: Value,
    data: Vec<u8>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        succeed(&format!("train --data shapes --out {} --max-steps 1 --batch 8", run.display()));
        let bytes = fs::read(run.join("last.safetensors")).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        Self { folder, header, data: bytes[8 + length..].to_vec() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces `@name` by the path of that name in the folder.
    pub(crate) fn line(&self, line: &str) -> String {
        line.replace('@', &format!("{}/", self.folder.path().display()))
    }

    /// A copy of the weights with an edited header.
    pub(crate) fn weights(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut header = self.header.clone();
        edit(&mut header);
        let header = header.to_string();
        let length = (header.len() as u64).to_le_bytes();
        fs::write(self.path(name), [&length[..], header.as_bytes(), &self.data].concat()).unwrap();
    }

    /// Asserts that a command line fails with a message that contains `expected`, and changes nothing in the folder.
    pub(crate) fn refuses(&self, line: &str, expected: &str) {
        self.refuses_with(line, expected, &[]);
    }

    /// As [`Self::refuses`], with these environment variables.
    pub(crate) fn refuses_with(&self, line: &str, expected: &str, environment: &[(&str, &str)]) {
        let (line, expected) = (self.line(line), self.line(expected));
        let before = snapshot(self.folder.path());
        let output = program(&words(&line)).envs(environment.iter().copied()).output().unwrap();
        assert_refused(&line, &output, &expected);
        assert!(snapshot(self.folder.path()) == before, "{line}: changed something");
    }
}

/// Asserts that a command line has failed with a message that contains `expected`.
pub(crate) fn assert_refused(line: &str, output: &Output, expected: &str) {
    let said = said(output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{line}: {:?}, {said}", output.status);
    assert!(said.contains("error: ") && said.contains(expected), "{line}: no word of {expected} in: {said}");
    assert!(!said.contains("panicked"), "{line}: {said}");
}

/// Every file below a folder with its bytes, and every folder with `None`.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            let mut all = snapshot(&path);
            all.insert(path, None);
            all
        } else {
            [(path.clone(), Some(fs::read(path).unwrap()))].into()
        }
    };
    paths.flat_map(below).collect()
}

/// Writes a file of tensors.
pub(crate) fn write<const N: usize>(path: &Path, tensors: [(&str, HostTensor); N]) {
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    StateDict { tensors, ..StateDict::default() }.write(path).unwrap();
}
