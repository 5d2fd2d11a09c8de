//! Shader text. The files of `shaders/` are templates, so that one kernel serves several tile sizes, element types and
//! epilogues, and kernels share snippets. Templates also unroll inner loops in the text, since drivers do not unroll
//! the loops that naga emits.
//!
//! The template language is Jinja, as implemented by the `minijinja` crate; lines that start with `#` are statements.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use minijinja::{Environment, UndefinedBehavior, Value};

use super::{EACH_WORKGROUP, TEAM_WORKGROUP};
use crate::gpu::Source;
use crate::graph::op::BoxLossKind;
use crate::graph::{LANES, WEIGHT_BLOCK};

static SHADERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/shaders");

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .line_statement_prefix("#")
        .trim_blocks(true)
        .keep_trailing_newline(true)
        .build();
    env.set_syntax(syntax.unwrap_or_else(|e| unreachable!("fixed syntax: {e}")));
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_loader(|name| Ok(SHADERS.get_file(name).and_then(|f| f.contents_utf8()).map(str::to_owned)));
    env.add_global("xyzw", Value::from(vec!["x", "y", "z", "w"]));
    // Numbers that shaders share with the host.
    env.add_global("each_workgroup", EACH_WORKGROUP);
    env.add_global("team_workgroup", TEAM_WORKGROUP);
    env.add_global("weight_block", WEIGHT_BLOCK / LANES); // in quads
    env.add_global("largest_growth", BoxLossKind::LARGEST_GROWTH);
    env.add_global("epsilon", BoxLossKind::EPSILON);
    env
});

/// Value of a template variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setting {
    /// Whether a part is present.
    Flag(bool),
    /// A size.
    Number(usize),
    /// A name, for instance of a type.
    Text(&'static str),
}

impl From<Setting> for Value {
    fn from(setting: Setting) -> Self {
        match setting {
            Setting::Flag(flag) => flag.into(),
            Setting::Number(number) => number.into(),
            Setting::Text(text) => text.into(),
        }
    }
}

/// Which features of a device a kernel uses, beyond what every device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// 16-bit floats as a type of the shader.
    pub half: bool,
    /// 64-bit integers.
    pub int64: bool,
    /// Subgroup operations.
    pub subgroups: bool,
}

/// A shader file with its settings: what becomes one pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel {
    template: &'static str,
    settings: Vec<(&'static str, Setting)>,
}

impl Kernel {
    /// The shader `shaders/TEMPLATE.wgsl` without settings.
    pub(crate) fn new(template: &'static str) -> Self {
        Self { template, settings: Vec::new() }
    }

    /// Sets a template variable.
    pub(crate) fn with(mut self, name: &'static str, setting: Setting) -> Self {
        self.settings.push((name, setting));
        self
    }

    /// The shader's place below `shaders/`, without `.wgsl`.
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// The features that the kernel uses. They follow from its settings: the types that it stores, and its lanes, which
    /// exchange numbers by subgroup operations.
    pub fn needs(&self) -> Needs {
        let stores = |types: &[&str]| {
            self.settings.iter().any(|(_, setting)| matches!(setting, Setting::Text(text) if types.contains(text)))
        };
        Needs {
            half: stores(&["f16"]),
            int64: stores(&["f16_by_64", "f32_by_64"]),
            subgroups: self.settings.iter().any(|(name, _)| *name == "lanes"),
        }
    }

    /// The shader's place and settings, for messages.
    pub fn name(&self) -> String {
        let settings: Vec<String> = self
            .settings
            .iter()
            .filter_map(|(name, setting)| match setting {
                Setting::Flag(false) => None,
                Setting::Flag(true) => Some((*name).to_owned()),
                Setting::Number(n) => Some(format!("{name}={n}")),
                Setting::Text(t) => Some(format!("{name}={t}")),
            })
            .collect();
        format!("{}.wgsl[{}]", self.template, settings.join(" "))
    }

    /// The shader's text with every template statement carried out.
    ///
    /// # Panics
    /// If the template is wrong. No input can cause that, and a test renders all templates.
    pub fn wgsl(&self) -> String {
        let file = format!("{}.wgsl", self.template);
        let settings: BTreeMap<&str, Value> =
            self.settings.iter().map(|&(name, setting)| (name, setting.into())).collect();
        let render = || TEMPLATES.get_template(&file)?.render(Value::from(settings));
        render().unwrap_or_else(|e| panic!("{}: {e:#}", self.name()))
    }

    pub(crate) fn source(&self) -> Source {
        Source { name: self.name(), wgsl: self.wgsl() }
    }
}
