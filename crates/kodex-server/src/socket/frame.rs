//! One message: a line, as long as was agreed and no longer.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// It is longer than agreed. Nothing more is read of it.
    #[error("the message is longer than {most} bytes")]
    TooLong { most: usize },
    /// The connection ended within it.
    #[error("the connection ended within a message")]
    Cut,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads one line without its end; none when the other side is done.
pub(crate) async fn read_frame(
    read: &mut (impl AsyncBufRead + Unpin),
    most: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut line = Vec::new();
    loop {
        let bytes = read.fill_buf().await?;
        if bytes.is_empty() {
            return match line.is_empty() {
                true => Ok(None),
                false => Err(FrameError::Cut),
            };
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(bytes.len());
        if line.len() + taken > most {
            return Err(FrameError::TooLong { most });
        }
        line.extend_from_slice(&bytes[..taken]);
        read.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read_frame;

    fn check(text: &str, want: &[&str]) {
        let mut read = tokio::io::BufReader::with_capacity(3, text.as_bytes());
        let tokio = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut got = Vec::new();
        tokio.block_on(async {
            loop {
                match read_frame(&mut read, 5).await {
                    Ok(Some(line)) => got.push(String::from_utf8(line).expect("text")),
                    Ok(None) => return,
                    Err(error) => return got.push(format!("!{error}")),
                }
            }
        });
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn lines_are_read_up_to_their_bound() {
        check("", &[]);
        check("a\n\nbcdef\n", &["a", "", "bcdef"]);
        check("bcdefg\n", &["!the message is longer than 5 bytes"]);
        check(
            "ok\nbcdefghij",
            &["ok", "!the message is longer than 5 bytes"],
        );
        check("ok\nab", &["ok", "!the connection ended within a message"]);
    }
}
