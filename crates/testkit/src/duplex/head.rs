//! Response heads of every protocol.

/// A response head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The status, also of interim responses.
    pub status: u16,
    /// The fields in order, without pseudo-fields.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Returns the first value of a field, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}
