//! Checks that the configured user and group exist and can read the files that a reload reads.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Group, Uid, User};

use super::{Preflight, PreflightMode, texts};

/// Default group, which does not exist on every system.
const DEFAULT_GROUP: &str = "nogroup";

impl Preflight<'_> {
    pub(super) fn check_accounts(&mut self, mode: PreflightMode) {
        self.check_accounts_as(mode, Uid::effective().is_root());
    }

    /// Without root, privileges are not dropped. An unknown account is then ignored, except that `check` warns about it,
    /// because the service may run as root.
    fn check_accounts_as(&mut self, mode: PreflightMode, root: bool) {
        let privileges = &self.loaded.config.security.privileges;
        if !privileges.enabled {
            if root && !privileges.allow_root {
                self.report("security.privileges.enabled", texts::ROOT_REFUSED, &[]);
            }
            return;
        }
        if !root && mode == PreflightMode::Start {
            return;
        }
        let user = User::from_name(&privileges.user).ok().flatten();
        let group = Group::from_name(&privileges.group).ok().flatten();
        let soften = |text: crate::spec::Text| if root { text } else { text.warning() };
        if user.is_none() {
            let arguments = [("u", privileges.user.as_str())];
            self.report("security.privileges.user", soften(texts::NO_USER), &arguments);
        }
        if group.is_none() && privileges.group != DEFAULT_GROUP {
            let arguments = [("g", privileges.group.as_str())];
            self.report("security.privileges.group", soften(texts::NO_GROUP), &arguments);
        }
        if let (true, true, Some(user)) = (root, privileges.retain_capabilities, user) {
            let gid = group.map_or(user.gid, |group| group.gid);
            self.check_readable(&user, gid.as_raw());
        }
    }

    /// Warns about files that the user cannot read. A reload can read them only with a retained capability.
    fn check_readable(&mut self, user: &User, group: u32) {
        for (file, path) in std::mem::take(&mut self.files) {
            let reaches = file.ancestors().skip(1).all(|parent| may(parent, 0o1, user.uid.as_raw(), group));
            if file.exists() && !(reaches && may(&file, 0o4, user.uid.as_raw(), group)) {
                let arguments = [("p", &*file.display().to_string()), ("user", &*user.name)];
                self.report(&path, texts::NOT_READABLE, &arguments);
            }
        }
    }
}

/// Whether the mode bits of `path` grant `bit` (read 4, search 1) to the user or the group. Dropping privileges removes
/// all supplementary groups.
fn may(path: &Path, bit: u32, user: u32, group: u32) -> bool {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let Ok(found) = std::fs::metadata(path) else { return false };
    let shift = if found.uid() == user {
        6
    } else if found.gid() == group {
        3
    } else {
        0
    };
    user == 0 || found.mode() & (bit << shift) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Severity;
    use crate::spec::Reader;

    fn problems(security: &str, mode: PreflightMode, root: bool) -> Vec<(Severity, String)> {
        let text = format!(
            "listen: {{ tls: {{ cert: c, key: k }} }}\n\
             upstream: {{ a: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}\n\
             security: {{ privileges: {{ {security} }} }}"
        );
        let loaded = crate::parse(&text, "f", &|_| None).unwrap();
        let mut preflight =
            Preflight { loaded: &loaded, now: 0, reader: Reader::new("f", &|_| None), files: Vec::new() };
        preflight.check_accounts_as(mode, root);
        preflight.reader.problems.into_iter().map(|problem| (problem.severity, problem.message)).collect()
    }

    #[test]
    fn unknown_accounts_are_errors_for_root_only() {
        let security = "user: no-such-user, group: no-such-group";
        for (mode, root, severity) in [
            (PreflightMode::Check, true, Some(Severity::Error)),
            (PreflightMode::Start, true, Some(Severity::Error)),
            (PreflightMode::Check, false, Some(Severity::Warning)),
            (PreflightMode::Start, false, None),
        ] {
            let texts = ["user 'no-such-user' not found", "group 'no-such-group' not found"];
            let expected: Vec<_> =
                severity.iter().flat_map(|severity| texts.map(|text| (*severity, text.to_owned()))).collect();
            assert_eq!(problems(security, mode, root), expected, "{mode:?} {root}");
        }
    }

    #[test]
    fn root_without_a_drop_must_be_allowed() {
        let refused = "refusing to run as root with security.privileges.enabled=false; \
                       set security.privileges.allow_root=true to accept it";
        assert_eq!(problems("enabled: false", PreflightMode::Start, true), [(Severity::Error, refused.to_owned())]);
        assert_eq!(problems("enabled: false, allow_root: true", PreflightMode::Start, true), []);
        assert_eq!(problems("enabled: false", PreflightMode::Start, false), []);
    }

    #[test]
    fn mode_bits_are_those_of_the_first_class_that_fits() {
        use std::os::unix::fs::PermissionsExt;
        let file = std::env::temp_dir().join(format!("spooky-config-mode-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let found = std::fs::metadata(&file).unwrap();
        let (owner, group) = (found.uid(), found.gid());
        let (stranger, strangers) = (owner.wrapping_add(7), group.wrapping_add(7));
        assert!(may(&file, 4, owner, strangers));
        assert!(may(&file, 4, stranger, group));
        assert!(!may(&file, 4, stranger, strangers));
        assert!(may(&file, 4, 0, strangers));
        std::fs::remove_file(&file).unwrap();
        assert!(!may(&file, 4, owner, strangers));
    }

    #[test]
    fn a_file_that_only_its_owner_can_read_is_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let Some(user) = User::from_uid(Uid::from_raw(65_534)).ok().flatten() else {
            return eprintln!("skipped: this system has no user 65534");
        };
        let text = "listen: { tls: { cert: c, key: k } }\n\
                    upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] } }";
        let loaded = crate::parse(text, "f", &|_| None).unwrap();
        let file = std::env::temp_dir().join(format!("spooky-config-owner-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let reported = |mode: u32| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let files = vec![(file.clone(), "listen.tls.key".to_owned())];
            let mut preflight = Preflight { loaded: &loaded, now: 0, reader: Reader::new("f", &|_| None), files };
            preflight.check_readable(&user, user.gid.as_raw());
            preflight.reader.problems.into_iter().map(|problem| (problem.severity, problem.message)).collect::<Vec<_>>()
        };
        let (closed, open) = (reported(0o600), reported(0o644));
        std::fs::remove_file(&file).unwrap();
        let expected = format!(
            "'{}' is not readable by user '{}'; CAP_DAC_READ_SEARCH is kept for reload",
            file.display(),
            user.name
        );
        assert_eq!(closed, [(Severity::Warning, expected)]);
        assert_eq!(open, []);
    }
}
