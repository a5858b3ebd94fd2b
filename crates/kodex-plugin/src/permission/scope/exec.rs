//! Programs.

use std::fmt;

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    error::Rule,
    path::PathPattern,
    pattern::{Pattern, Place, Segment, check_length, segment, write_segment},
    text::Word,
    value::is_name,
};

accesses! {
    /// What may be done with programs.
    ExecAccess {
        /// Start it and read what it prints.
        Run = "run",
    }
}

/// Which program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// A bare name, looked up once when it is granted.
    Name(String),
    /// One path, without wildcards.
    Path(PathPattern),
}

impl Program {
    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        if word.text.starts_with(['/', '$', '~']) {
            let path = PathPattern::parse(word)?;
            let is_exact = path.below().is_literal() && !path.below().segments().is_empty();
            return match is_exact {
                true => Ok(Self::Path(path)),
                false => Err(word.fault(
                    Rule::TargetInvalid,
                    "a program is one file, without wildcards",
                )),
            };
        }
        if !is_name(word.text, "._+-", 255) {
            let message = format!("`{}` is no name of a program", word.text);
            return Err(word
                .fault(Rule::TargetInvalid, message)
                .with_hint("write a bare name such as `git`, or an absolute path"));
        }
        Ok(Self::Name(word.text.to_owned()))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{path}"),
        }
    }
}

/// How the child is confined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecSandbox {
    /// Like the plugin.
    #[default]
    Inherit,
    /// Not by the plugin's grants.
    None,
}

const SANDBOX: &[(&str, ExecSandbox)] = &[
    ("inherit", ExecSandbox::Inherit),
    ("none", ExecSandbox::None),
];

/// Running a program: `exec:run git ["status","*"]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Exec {
    /// What may be done.
    pub accesses: Accesses<ExecAccess>,
    /// Which program.
    pub program: Program,
    /// The arguments after the program's name; any when absent.
    pub arguments: Option<Pattern>,
    /// How the child is confined.
    pub sandbox: ExecSandbox,
}

impl Exec {
    /// Whether these arguments are allowed. The program itself is compared by the host, which knows
    /// what the name meant when it was granted.
    #[must_use]
    pub fn allows_arguments<S: AsRef<str>>(&self, arguments: &[S]) -> bool {
        let pattern = self.arguments.as_ref();
        pattern.is_none_or(|pattern| pattern.matches(arguments))
    }
}

impl Grammar for Exec {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let accesses = clause.accesses()?;
        let (program, rest) = clause.targets("exec:run git [\"status\"]")?;
        let program = Program::parse(program)?;
        let arguments = match rest {
            [] => None,
            [list] => arguments(*list)?,
            [_, second, ..] => {
                let message = "only one list of arguments can follow the program";
                return Err(second.fault(Rule::TargetUnexpected, message));
            }
        };
        let sandbox = clause.choice("sandbox", SANDBOX)?.unwrap_or_default();
        Ok(Self {
            accesses,
            program,
            arguments,
            sandbox,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        let head = Canonical::new(scope, &self.accesses.words()).target(&self.program);
        let head = match &self.arguments {
            Some(arguments) => head.target(written(arguments)),
            None => head,
        };
        head.constraint(
            "sandbox",
            (self.sandbox == ExecSandbox::None).then_some("none"),
        )
    }

    fn atoms(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn covers(&self, narrower: &Self) -> bool {
        let covers_arguments = match (&self.arguments, &narrower.arguments) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.contains(narrow),
        };
        self.program == narrower.program
            && covers_arguments
            && (self.sandbox == ExecSandbox::None || narrower.sandbox == ExecSandbox::Inherit)
    }

    fn split(&self) -> Vec<Self> {
        let Some(arguments) = &self.arguments else {
            return vec![self.clone()];
        };
        let with_arguments = |arguments| Self {
            arguments: Some(arguments),
            ..self.clone()
        };
        arguments.split().into_iter().map(with_arguments).collect()
    }
}

/// `["**"]` is every list of arguments and therefore no pattern at all.
fn arguments(list: Word<'_>) -> Result<Option<Pattern>, Fault> {
    if !(list.text.starts_with('[') && list.text.ends_with(']')) {
        return Err(list
            .fault(Rule::TargetUnexpected, "arguments stand in a list")
            .with_hint("write `[\"status\",\"*\"]`"));
    }
    let items = list.items()?.into_iter();
    let segments = items.map(|item| segment(item, Place::Arguments));
    let segments = segments.collect::<Result<Vec<Segment>, Fault>>()?;
    check_length(list, &segments)?;
    let pattern = Pattern::new(segments);
    let is_everything = pattern.segments() == [Segment::AnyDepth];
    Ok((!is_everything).then_some(pattern))
}

fn written(arguments: &Pattern) -> String {
    let mut text = String::from("[");
    for (index, segment) in arguments.segments().iter().enumerate() {
        text.push_str(if index > 0 { "," } else { "" });
        write_segment(&mut text, segment, Place::Arguments);
    }
    text.push(']');
    text
}
