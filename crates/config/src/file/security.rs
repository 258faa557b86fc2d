//! `security` and `reload`: privileges, sandbox and automatic reload.

use std::time::Duration;

use crate::preflight::texts;
use crate::problem::Code;
use crate::spec::Mapping;
use crate::spec::block::block;
use crate::spec::keywords::keywords;
use crate::spec::text::{Text, text};

const IDENTITY: Text =
    text("<key> must be non-empty when privilege drop is enabled").code(Code::UnsupportedPolicyCombination);

keywords! {
    /// Kernel sandbox, entered after dropping privileges.
    pub enum Sandbox {
        /// As far as the kernel supports it.
        Auto = ["auto"],
        /// No sandbox.
        Off = ["off"],
        /// Fails the start without it.
        Required = ["required"],
    }
}

block! {
    /// Privileges and sandbox of the process.
    pub struct Security {
        /// User and group after binding.
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
        enabled: bool = true, may_report(texts::ROOT_REFUSED);
        /// The user.
        user: String = "nobody".to_owned(), may_report(IDENTITY), may_report(texts::NO_USER), may_report(texts::NOT_READABLE);
        /// The group. If the default group does not exist, the user's own group is used.
        group: String = "nogroup".to_owned(), may_report(IDENTITY), may_report(texts::NO_GROUP);
        /// Capabilities kept for reload.
        retain_capabilities: bool = true;
        /// Run as root with `enabled: false`.
        allow_root: bool = false;
    }
    finalize |block: &mut Privileges, mapping: &mut Mapping<'_, '_>| {
        let named = |text: &str| !block.enabled || !text.trim().is_empty();
        mapping.require(named(&block.user), &["user"], IDENTITY, &[]);
        mapping.require(named(&block.group), &["group"], IDENTITY, &[]);
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
