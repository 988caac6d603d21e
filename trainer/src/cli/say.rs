//! `eprintln!` for this program: as the standard one, but a closed pipe or a full disk behind stderr
//! is no panic. What was to be told is lost; the work goes on.

/// Prints a line on stderr.
macro_rules! eprintln {
    ($($arg:tt)*) => {
        $crate::cli::say::line(&mut std::io::stderr().lock(), format_args!($($arg)*))
    };
}

/// Writes a line, as one write where the stream takes it whole.
pub(super) fn line(out: &mut dyn std::io::Write, line: std::fmt::Arguments<'_>) {
    // Nobody is left to tell that telling failed.
    let _ = out.write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_cannot_be_written_is_no_panic() {
        line(&mut Full, format_args!("lost"));
    }
}
