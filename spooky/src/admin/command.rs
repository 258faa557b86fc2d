//! Commands that the control API sends to the main thread.

use spooky_control::Reload;
use tokio::sync::{mpsc, oneshot};

/// Maximum number of commands that wait for the one before.
const MAX_WAITING: usize = 16;

/// What the main thread shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandKind {
    Reload,
    ReloadCertificates,
    Rollback,
}

/// A command and where its result goes. If it is dropped without one, the process is stopping.
pub(crate) struct Command {
    pub(crate) kind: CommandKind,
    pub(crate) reply: oneshot::Sender<Reload>,
}

/// The sending side.
#[derive(Clone)]
pub(crate) struct Commands(mpsc::Sender<Command>);

/// Creates both sides.
pub(crate) fn commands() -> (Commands, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Commands(sender), receiver)
}

impl Commands {
    /// Executes a command on the main thread, and returns its result.
    pub(super) async fn execute(&self, kind: CommandKind) -> Reload {
        let (reply, result) = oneshot::channel();
        let stopping = || Reload::Failed("the process is stopping".to_owned());
        if self.0.send(Command { kind, reply }).await.is_err() {
            return stopping();
        }
        result.await.unwrap_or_else(|_| stopping())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_gets_its_result_or_the_news_of_a_stop() {
        let (commands, mut receiver) = commands();
        let (result, ()) = tokio::join!(commands.execute(CommandKind::Rollback), async {
            let command = receiver.recv().await.unwrap();
            assert_eq!(command.kind, CommandKind::Rollback);
            command.reply.send(Reload::Failed("no".to_owned())).unwrap();
        });
        assert_eq!(result, Reload::Failed("no".to_owned()));
        let (result, ()) = tokio::join!(commands.execute(CommandKind::Reload), async { drop(receiver.recv().await) });
        assert_eq!(result, Reload::Failed("the process is stopping".to_owned()));
        drop(receiver);
        let result = commands.execute(CommandKind::Reload).await;
        assert_eq!(result, Reload::Failed("the process is stopping".to_owned()));
    }
}
