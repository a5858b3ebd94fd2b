//! Lists of permissions: their digest, and what a new list asks for beyond an old one.

use sha2::{Digest, Sha256};

use super::Permission;

/// The digest by which a lock, a grant and an update know a list of permissions.
///
/// It is SHA-256 in lower-case hexadecimal over the normal forms, without duplicates, sorted by
/// their bytes, each followed by one newline. `LC_ALL=C sort -u list.txt | sha256sum` computes the
/// same from a file with one normal form per line. Variables are not expanded, so the digest is the
/// same on every machine; reasons are no part of it.
///
/// ```
/// use kodex_plugin::permission::{Permission, digest};
/// let list = |texts: &[&str]| texts.iter().map(|t| t.parse()).collect::<Result<Vec<Permission>, _>>();
/// let one = list(&["env:read CI", "net:connect API.example.com"])?;
/// let two = list(&["net:connect api.example.com:443", "env:read CI", "env:read CI"])?;
/// assert_eq!(digest(&one), digest(&two));
/// # Ok::<(), kodex_plugin::permission::PermissionError>(())
/// ```
#[must_use]
pub fn digest(permissions: &[Permission]) -> String {
    let mut lines: Vec<String> = permissions.iter().map(Permission::to_string).collect();
    lines.sort();
    lines.dedup();
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The permissions of `new` that ask for more than all of `old` together.
///
/// Empty means that nobody has to be asked again. What cannot be proven to be covered counts as
/// more. Several old permissions may together cover one new one, access by access and alternative
/// by alternative.
///
/// ```
/// use kodex_plugin::permission::{Permission, widens};
/// let old: Permission = "fs:read ${project}/src/**".parse()?;
/// let new: Permission = "fs:read ${project}/**".parse()?;
/// assert_eq!(widens(&[old.clone()], &[new.clone()]), [&new]);
/// assert!(widens(&[new], &[old]).is_empty());
/// # Ok::<(), kodex_plugin::permission::PermissionError>(())
/// ```
#[must_use]
pub fn widens<'n>(old: &[Permission], new: &'n [Permission]) -> Vec<&'n Permission> {
    let is_covered = |new: &&Permission| {
        let is_covered = |part: &Permission| old.iter().any(|old| old.contains(part));
        is_covered(new) || new.parts().iter().all(is_covered)
    };
    new.iter().filter(|new| !is_covered(new)).collect()
}
