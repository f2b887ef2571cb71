//! The cameras as hosts: sessions on one host with one login are ended before new ones begin, whichever path they
//! belong to. Recorders have few places and give them out again only after a TEARDOWN; old live555 sends the media of a
//! session that was dropped into the next one (moonfire-nvr#209, retina#17).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use retina::client::SessionGroup;
use url::Url;

/// The sessions of all cameras. Clones share them.
#[derive(Clone, Default)]
pub struct CameraHosts {
    /// Held for a look-up.
    groups: Arc<Mutex<HashMap<Key, Weak<SessionGroup>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    port: Option<u16>,
    username: Option<String>,
}

impl CameraHosts {
    /// The group of a camera's sessions.
    pub(super) fn group(&self, url: &Url, username: Option<&str>) -> Arc<SessionGroup> {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let key = Key { host, port: url.port(), username: username.map(str::to_owned) };
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get(&key).and_then(Weak::upgrade) {
            return group;
        }
        groups.retain(|_, group| group.strong_count() > 0);
        let group = Arc::new(SessionGroup::default().named(key.host.clone()));
        groups.insert(key, Arc::downgrade(&group));
        group
    }
}

impl fmt::Debug for CameraHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CameraHosts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_host_and_login_share_a_group_as_long_as_it_is_used() {
        let hosts = CameraHosts::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let one = hosts.group(&url("rtsp://Recorder/1"), Some("a"));
        assert!(Arc::ptr_eq(&one, &hosts.group(&url("rtsp://recorder/2"), Some("a"))));
        assert!(!Arc::ptr_eq(&one, &hosts.group(&url("rtsp://recorder/1"), Some("b"))));
        assert!(!Arc::ptr_eq(&one, &hosts.group(&url("rtsp://recorder:8554/1"), Some("a"))));
        drop(one);
        hosts.group(&url("rtsp://other/"), None);
        assert!(hosts.groups.lock().unwrap().len() <= 1);
    }
}
