//! Paths: where they start, which folders a variable stands for, and which files a pattern covers.
//!
//! A path is a list of names, never a text with a prefix. No file is opened here and no link is
//! followed: the host compares what it has opened with what stands here.

use std::{collections::BTreeMap, fmt};

use super::{
    error::{Fault, PermissionError, Rule},
    pattern::{MAX_SEGMENTS, Pattern, Place, Segment, check_length, segment, write_segment},
    text::{Word, nfc, words},
};

/// A folder that has another place on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// The plugin's own cache, which may be emptied at any time.
    Cache,
    /// The user's configuration folder.
    Config,
    /// The plugin's own folder.
    Data,
    /// The user's home.
    Home,
    /// The project that the agent works on.
    Project,
    /// A folder for temporary files, new for every run.
    Tmp,
}

impl Variable {
    /// Every variable, sorted by name.
    pub const ALL: &'static [Self] = &[
        Self::Cache,
        Self::Config,
        Self::Data,
        Self::Home,
        Self::Project,
        Self::Tmp,
    ];

    /// The name between the braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Config => "config",
            Self::Data => "data",
            Self::Home => "home",
            Self::Project => "project",
            Self::Tmp => "tmp",
        }
    }
}

/// What the variables stand for, on one machine and for one plugin.
///
/// ```
/// use kodex_plugin::permission::{Variable, Variables};
/// let variables = Variables::new().with(Variable::Project, "/home/mo/shop")?;
/// # Ok::<(), kodex_plugin::permission::PermissionError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<Variable, AbsolutePath>);

impl Variables {
    /// No variable has a value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a variable its folder.
    ///
    /// # Errors
    /// When the path is not absolute and clean, or is the root of the file system.
    pub fn with(mut self, variable: Variable, path: &str) -> Result<Self, PermissionError> {
        let folder: AbsolutePath = path.parse()?;
        let n_names = folder.0.len();
        if n_names == 0 || n_names > MAX_SEGMENTS {
            let message = format!("`${{{}}}` needs 1 to {MAX_SEGMENTS} names", variable.name());
            let fault = Fault::new(Rule::VariableValue, 0..path.len(), message);
            return Err(fault.in_text(path));
        }
        self.0.insert(variable, folder);
        Ok(self)
    }

    /// The folder of a variable.
    #[must_use]
    pub fn folder(&self, variable: Variable) -> Option<&AbsolutePath> {
        self.0.get(&variable)
    }
}

/// A concrete absolute path as a list of names, without `.`, `..` and empty ones.
///
/// ```
/// use kodex_plugin::permission::AbsolutePath;
/// let path: AbsolutePath = "/home/mo/shop".parse()?;
/// assert_eq!(path.names(), ["home", "mo", "shop"]);
/// assert!("/home/mo/../root".parse::<AbsolutePath>().is_err());
/// # Ok::<(), kodex_plugin::permission::PermissionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(Vec<String>);

impl AbsolutePath {
    /// The names from the root down, in Unicode normal form C.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl std::str::FromStr for AbsolutePath {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let fault =
            |message: String| Fault::new(Rule::VariableValue, 0..text.len(), message).in_text(text);
        let Some(rest) = text.strip_prefix('/') else {
            return Err(fault("the path is not absolute".to_owned()));
        };
        if rest.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let is_odd = |name: &str| matches!(name, "" | "." | "..") || name.contains('\0');
        match rest.split('/').find(|name| is_odd(name)) {
            Some(name) => Err(fault(format!("the path has the name {name:?}"))),
            None => Ok(Self(rest.split('/').map(nfc).collect())),
        }
    }
}

/// Where a path pattern starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    /// The root of the file system.
    Absolute,
    /// The folder of a variable.
    Variable(Variable),
}

/// A set of paths: a root and a pattern over the names below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern {
    root: Root,
    below: Pattern,
}

impl PathPattern {
    /// Where it starts.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// The pattern below the root.
    #[must_use]
    pub fn below(&self) -> &Pattern {
        &self.below
    }

    /// The same paths, from the root of this machine's file system.
    ///
    /// # Errors
    /// When the variable has no value.
    pub fn expand(&self, variables: &Variables) -> Result<Self, PermissionError> {
        let Root::Variable(variable) = self.root else {
            return Ok(self.clone());
        };
        let Some(folder) = variables.folder(variable) else {
            let text = self.to_string();
            let message = format!("`${{{}}}` has no value here", variable.name());
            let span = 0..variable.name().len() + "${}".len();
            return Err(Fault::new(Rule::VariableUnset, span, message).in_text(&text));
        };
        let front = folder.0.iter().map(Segment::literal);
        let segments = front.chain(self.below.segments().iter().cloned());
        Ok(Self {
            root: Root::Absolute,
            below: Pattern::new(segments),
        })
    }

    /// Whether it covers the path; `None` while a variable stands in it. Names are compared whole,
    /// so `${project}/a` never covers `${project}/ab`.
    #[must_use]
    pub fn matches(&self, path: &AbsolutePath) -> Option<bool> {
        match self.root {
            Root::Absolute => Some(self.below.matches(&path.0)),
            Root::Variable(_) => None,
        }
    }

    /// Whether it covers everything that `narrower` covers. Different roots are never compared:
    /// expand both first.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        self.root == narrower.root && self.below.contains(&narrower.below)
    }

    pub(super) fn split(&self) -> Vec<Self> {
        let below = self.below.split().into_iter();
        let root = self.root;
        below.map(|below| Self { root, below }).collect()
    }

    pub(super) fn parse(word: Word<'_>) -> Result<Self, Fault> {
        let (root, rest) = root(word)?;
        let mut segments = Vec::new();
        if let Some(rest) = rest {
            for part in rest.split('/')? {
                if part.text.is_empty() {
                    return Err(empty_segment(word, part));
                }
                segments.push(segment(part, Place::Path)?);
            }
        }
        check_length(word, &segments)?;
        let starts_with_name = matches!(segments.first(), Some(Segment::OneOf(_)));
        if root == Root::Absolute && !starts_with_name {
            return Err(word
                .fault(
                    Rule::PathRoot,
                    "the path covers the root of the file system",
                )
                .with_hint("name at least the first folder, or start with `${project}`"));
        }
        let below = Pattern::new(segments);
        Ok(Self { root, below })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = match self.root {
            Root::Absolute => String::new(),
            Root::Variable(variable) => format!("${{{}}}", variable.name()),
        };
        for segment in self.below.segments() {
            text.push('/');
            write_segment(&mut text, segment, Place::Path);
        }
        f.write_str(&text)
    }
}

impl std::str::FromStr for PathPattern {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let parse = || match words(text)?.as_slice() {
            [word] => Self::parse(*word),
            [] => Err(Fault::new(Rule::TextEmpty, 0..0, "there is no path")),
            [_, second, ..] => {
                Err(second.fault(Rule::TargetUnexpected, "a name with a blank must be quoted"))
            }
        };
        parse().map_err(|fault: Fault| fault.in_text(text))
    }
}

/// The root of a path and what follows its first slash.
fn root(word: Word<'_>) -> Result<(Root, Option<Word<'_>>), Fault> {
    if word.text.starts_with('/') {
        let rest = Some(word.from(1)).filter(|rest| !rest.text.is_empty());
        return Ok((Root::Absolute, rest));
    }
    let Some(after) = word.text.strip_prefix("${") else {
        return Err(relative(word));
    };
    let Some(length) = after.find('}') else {
        return Err(word
            .part(0..2)
            .fault(Rule::TextUnclosed, "no closing `}` follows"));
    };
    let name = word.part(2..2 + length);
    let variable = Variable::ALL
        .iter()
        .find(|variable| variable.name() == name.text);
    let Some(variable) = variable else {
        let known: Vec<_> = Variable::ALL
            .iter()
            .map(|variable| variable.name())
            .collect();
        return Err(name
            .fault(
                Rule::VariableUnknown,
                format!("`{}` is no variable", name.text),
            )
            .with_known(name.text, &known));
    };
    let rest = word.from(2 + length + 1);
    match rest.text.strip_prefix('/') {
        Some(_) => Ok((Root::Variable(*variable), Some(rest.from(1)))),
        None if rest.text.is_empty() => Ok((Root::Variable(*variable), None)),
        None => Err(rest.fault(Rule::VariablePlace, "only `/` can follow a variable")),
    }
}

fn relative(word: Word<'_>) -> Fault {
    let fault = word.fault(
        Rule::PathRelative,
        "a path starts with a variable or with `/`",
    );
    let rest = word.text;
    match rest.chars().next() {
        Some('~') => fault.with_hint("write `${home}` for the user's home"),
        Some('$') => fault.with_hint("write `${home}`, with braces and in lower case"),
        Some('"') => fault.with_hint("quote single segments: `${project}/\"my file\"`"),
        Some('*') => fault.with_hint("did you mean `${project}/**`?"),
        _ => fault.with_hint(format!("did you mean `${{project}}/{rest}`?")),
    }
}

fn empty_segment(path: Word<'_>, part: Word<'_>) -> Fault {
    // The slash before the empty segment is what one can see and delete.
    let slash = path.part(part.start - path.start - 1..part.start - path.start);
    slash
        .fault(Rule::PathEmptySegment, "a segment of the path is empty")
        .with_hint("remove the extra `/`; `/**` stands for everything below")
}
