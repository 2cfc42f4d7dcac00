//! How wide the terminal is.

/// The narrowest and the widest terminal that is believed.
const BELIEVED: (usize, usize) = (40, 400);

/// The terminal's width in columns, at most one less than it really is, and 100 when nobody knows.
///
/// The system call for it needs unsafe code or one more dependency. clap makes that call to wrap its
/// help, and tells the result only by where it wraps: so a help text of one-letter words is measured.
pub(in crate::cli) fn terminal_width() -> u16 {
    let (narrowest, widest) = BELIEVED;
    let mut ruler = clap::Command::new("ruler")
        .about("x ".repeat(widest))
        .help_template("{about}")
        .disable_help_flag(true)
        .max_term_width(widest);
    let measured = ruler.render_help().to_string().lines().map(str::len).max();
    u16::try_from(measured.unwrap_or(narrowest).clamp(narrowest, widest)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_always_known() {
        assert!((40..=400).contains(&terminal_width()));
    }
}
