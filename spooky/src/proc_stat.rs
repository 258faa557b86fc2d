//! The `stat` files of processes and threads in `/proc` (`proc_pid_stat(5)`).

/// Returns the length of the ticks in which the kernel counts CPU time.
pub(crate) fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The fields that are needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u64,
    pub(crate) start_ticks: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) resident_pages: u64,
}

impl Stat {
    /// Parses the content of a `stat` file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The name of the program is in parentheses and may contain any character.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // The first of them is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_follow_the_last_parenthesis() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 11 22 0 0 20 0 5 0 777 8192 42 18446744073709551615 1";
        let expected = Stat { cpu_ticks: 33, threads: 5, start_ticks: 777, virtual_bytes: 8192, resident_pages: 42 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (spooky) S 1"), None);
    }
}
