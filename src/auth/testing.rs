//! Users for tests, whose passwords cost next to nothing to verify.

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher};

use super::User;
use crate::config::PermissionConfig;

/// Permissions by word and paths.
pub(crate) fn permissions(list: &[(&str, &str)]) -> Vec<PermissionConfig> {
    let one = |(action, path): &(&str, &str)| PermissionConfig {
        action: action.parse().unwrap(),
        path: path.parse().unwrap(),
    };
    list.iter().map(one).collect()
}

/// A user with a hash that is no good anywhere else.
pub(crate) fn cheap_user(name: &str, password: &str, list: &[(&str, &str)]) -> User {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let hash = cheap.hash_password_with_salt(password.as_bytes(), b"salt for a test").unwrap();
    User {
        name: name.parse().unwrap(),
        password: hash.to_string().parse().unwrap(),
        digest: None,
        groups: Vec::new(),
        permissions: permissions(list),
    }
}
