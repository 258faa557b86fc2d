//! `security` and `reload`: who the process is, and when it looks at its files again.

use std::time::Duration;

use crate::problem::Code;
use crate::spec::Scope;
use crate::spec::block::block;
use crate::spec::text::{Text, text};
use crate::spec::words::words;
use crate::world::texts;

const IDENTITY: Text =
    text("<key> must be non-empty when privilege drop is enabled").code(Code::UnsupportedPolicyCombination);

words! {
    /// Kernel sandbox after the drop of privileges.
    pub enum Sandbox {
        /// What the kernel has.
        Auto = ["auto"],
        /// None.
        Off = ["off"],
        /// Start only with it.
        Required = ["required"],
    }
}

block! {
    /// What the process may do.
    pub struct Security {
        /// The user and group after binding.
        privileges: Privileges = Privileges::default(), restart();
        /// Landlock and seccomp after dropping privileges: `auto` as far as the kernel supports them, `off`,
        /// `required`.
        sandbox: Sandbox = Sandbox::Auto, restart();
    }
}

block! {
    /// Dropping privileges after binding.
    pub struct Privileges {
        /// Effective only when started as root.
        enabled: bool = true, says(texts::ROOT_REFUSED);
        /// The user.
        user: String = "nobody".to_owned(), says(IDENTITY), says(texts::NO_USER), says(texts::NOT_READABLE);
        /// The group. If the default group does not exist, the user's own group is used.
        group: String = "nogroup".to_owned(), says(IDENTITY), says(texts::NO_GROUP);
        /// Capabilities kept for reload.
        retain_capabilities: bool = true;
        /// Run as root with `enabled: false`.
        allow_root: bool = false;
    }
    settle |block: &mut Privileges, scope: &mut Scope<'_, '_>| {
        let named = |text: &str| !block.enabled || !text.trim().is_empty();
        scope.require(named(&block.user), &["user"], IDENTITY, &[]);
        scope.require(named(&block.group), &["group"], IDENTITY, &[]);
    }
}

block! {
    /// Automatic reload when files change.
    pub struct Reload {
        /// Certificate, key, CA, CRL and OCSP files are loaded again when they change.
        watch_certificates: bool = true;
        /// The configuration file is reloaded when it changes.
        watch_config: bool = false;
        /// Time without further changes before files are read.
        debounce_ms: Duration = Duration::from_millis(500), positive();
    }
}
