//! Which environment variables a plugin may be given.
//!
//! A variable of the wrong kind makes any program load the code of whoever set it: passing one
//! through would undo the confinement of the worker before its first instruction.

/// Variables that change how programs, interpreters or their tools load code. Upper case.
const EXACT: &[&str] = &[
    "_JAVA_OPTIONS",
    "BASHOPTS",
    "BASH_ENV",
    "BUN_OPTIONS",
    "CDPATH",
    "CLASSPATH",
    "DENO_V8_FLAGS",
    "DOTNET_STARTUP_HOOKS",
    "ENV",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "IFS",
    "JAVA_OPTS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCPATH",
    "NLSPATH",
    "NODE_CHANNEL_FD",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PROMPT_COMMAND",
    "PS4",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "ZDOTDIR",
];

/// Families of such variables, by how their names begin. Upper case.
const PREFIXES: &[&str] = &[
    "BASH_FUNC_",
    "BUNDLE_",
    "COMPLUS_",
    "CORECLR_",
    "COR_",
    "DYLD_",
    "ERL_",
    "GEM_",
    "GIT_",
    "LD_",
    "LUA_",
    "MALLOC_",
    "NPM_CONFIG_",
    "PERL",
    "PIP_",
    "PYTHON",
    "RUBY",
];

/// Whether a variable changes how programs are loaded, so that it never passes to a plugin.
///
/// Case does not matter: some systems and some programs ignore it.
///
/// ```
/// use kodex_plugin::manifest::is_loader_variable;
/// assert!(is_loader_variable("LD_PRELOAD"));
/// assert!(is_loader_variable("npm_config_node_options"));
/// assert!(!is_loader_variable("GITHUB_TOKEN"));
/// ```
#[must_use]
pub fn is_loader_variable(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    EXACT.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the host sets the variable itself, so that passing it would change nothing or weaken it.
pub(super) fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name == "PATH" || name.starts_with("KODEX_")
}

/// Whether a text can be the name of an environment variable: letters, digits and `_`, not
/// starting with a digit. Lower case is allowed, because `http_proxy` and its like are.
pub(super) fn is_name(text: &str) -> bool {
    let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty() && !text.as_bytes()[0].is_ascii_digit() && text.bytes().all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_variables_are_known_by_name_or_family() {
        for name in [
            "LD_PRELOAD",
            "ld_library_path",
            "DYLD_INSERT_LIBRARIES",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "NODE_OPTIONS",
            "NODE_PATH",
            "PERL5LIB",
            "PERL5OPT",
            "PERLLIB",
            "RUBYOPT",
            "RUBYLIB",
            "BASH_ENV",
            "ENV",
            "GIT_SSH_COMMAND",
            "GIT_DIR",
            "JAVA_TOOL_OPTIONS",
            "BASH_FUNC_ls%%",
        ] {
            assert!(is_loader_variable(name), "{name}");
        }
        for name in [
            "",
            "HOME",
            "GITHUB_TOKEN",
            "GITLAB_TOKEN",
            "NODE_ENV",
            "ENVIRONMENT",
            "LDAP_URL",
            "TZ",
            "HTTP_PROXY",
            "OPENAI_API_KEY",
            "MY_LD_PRELOAD",
        ] {
            assert!(!is_loader_variable(name), "{name}");
        }
    }

    #[test]
    fn the_lists_are_upper_case() {
        for name in EXACT.iter().chain(PREFIXES) {
            assert_eq!(*name, name.to_ascii_uppercase());
        }
    }

    #[test]
    fn names_of_variables() {
        for (text, want) in [
            ("A", true),
            ("_A1", true),
            ("http_proxy", true),
            ("", false),
            ("1A", false),
            ("A-B", false),
            ("A=B", false),
            ("Ä", false),
            ("A B", false),
        ] {
            assert_eq!(is_name(text), want, "{text:?}");
        }
    }
}
