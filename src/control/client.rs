//! The commands' end of the control calls.

use std::io;
use std::path::Path;

use jsonrpsee::core::client::{
    Client as RpcClient, ClientBuilder, ReceivedMessage, TransportReceiverT, TransportSenderT,
};
use tokio::io::AsyncWriteExt;

use crate::ipc::{self, ReadHalf, WriteHalf};
use crate::wire::{Account, FrameError, Frames};

pub type Client = RpcClient;

/// The largest answer that is read.
const MAX_ANSWER: usize = 1 << 30;
/// How long a tool may take that `trunkline call` calls.
const CALL_WAIT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

struct Sender(WriteHalf);
struct Receiver(Frames<ReadHalf>);

#[derive(Debug, thiserror::Error)]
enum ReceiveError {
    #[error("the daemon closed the connection")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Utf8(#[from] std::str::Utf8Error),
}

impl TransportSenderT for Sender {
    type Error = io::Error;

    async fn send(&mut self, msg: String) -> Result<(), io::Error> {
        self.0.write_all(msg.as_bytes()).await?;
        self.0.write_all(b"\n").await?;
        self.0.flush().await
    }
}

impl TransportReceiverT for Receiver {
    type Error = ReceiveError;

    async fn receive(&mut self) -> Result<ReceivedMessage, ReceiveError> {
        let frame = self.0.next().await?.ok_or(ReceiveError::Closed)?;
        Ok(ReceivedMessage::Text(std::str::from_utf8(frame)?.to_owned()))
    }
}

/// Connects to the daemon that listens on `socket`.
pub async fn connect(socket: &Path) -> io::Result<Client> {
    let (read, write) = ipc::connect(socket).await?;
    let builder = ClientBuilder::default().request_timeout(CALL_WAIT);
    Ok(builder.build_with_tokio(Sender(write), Receiver(Frames::new(read, MAX_ANSWER, Account::alone(usize::MAX)))))
}
