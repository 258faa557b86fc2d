//! The main thread: waits for signals and for changed files, reloads, and stops the process.

use super::{
    read::read,
    restart,
    service_manager::{self, ServiceWatchdog},
    threads::Server,
};
use crate::{
    admin::{Cause, Command, CommandKind},
    file_watch::{FileChange, FileWatch},
    signals::{Action, Signals},
    watchdog::RestartRequest,
};
use spooky_control::Reload;
use std::{path::Path, process::ExitCode, sync::atomic::Ordering::Relaxed};
use tokio::{
    runtime::Runtime,
    select,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

/// How the loop has ended.
enum End {
    /// The server must drain.
    Drain(Box<Server>),
    /// The server must drain and then be restarted.
    Restart(Box<Server>, RestartRequest),
    /// A second stop signal, or a panic that the panic hook has logged.
    Abort,
}

impl Server {
    /// Reloads on SIGHUP and when files have changed, reopens the log file on SIGUSR1, and starts the process that replaces
    /// this one on SIGUSR2. Drains on SIGTERM or SIGINT; a second one of these ends the process at once.
    pub(super) fn wait(self, runtime: &Runtime, mut signals: Signals, file: &Path) -> ExitCode {
        let status = runtime.block_on(async {
            let watchdog = ServiceWatchdog::start(&self.state, &self.workers);
            match Box::pin(self.serve(&mut signals, file)).await {
                End::Drain(server) if server.is_handed_over => {
                    drop(watchdog); // the new process is the main process now
                    let least = i32::from(server.is_successor_lost);
                    leave(*server, &mut signals).await.max(least)
                }
                End::Drain(server) => {
                    service_manager::stopping();
                    restart::stop(*server, &mut signals).await
                }
                End::Restart(server, request) => {
                    service_manager::stopping();
                    restart::run(*server, &request, &mut signals).await
                }
                End::Abort => 1,
            }
        });
        if status == 0 { ExitCode::SUCCESS } else { std::process::exit(status) }
    }

    /// Runs until a stop signal.
    async fn serve(self, signals: &mut Signals, file: &Path) -> End {
        let mut server = self;
        let mut watch = match FileWatch::start(file, &server.snapshot.config) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::error!("Files are not watched: {error}");
                None
            }
        };
        let state = server.state.clone();
        loop {
            service_manager::ready(&format!("Serving (generation={})", server.snapshot.generation));
            let reloaded = select! {
                action = signals.next() => match action {
                    Action::Stop => return End::Drain(Box::new(server)),
                    Action::Reload => {
                        service_manager::reloading("Reloading the configuration");
                        server.reopen_log(false);
                        server.reload_file(signals, file, Cause::Signal, None).await
                    }
                    Action::Upgrade => {
                        service_manager::reloading("Starting the new process");
                        server.change(signals, Self::upgrade).await
                    }
                    Action::ReopenLog => {
                        server.reopen_log(true);
                        Ok(server)
                    }
                },
                request = state.watchdog.requested() => return End::Restart(Box::new(server), request),
                Some(command) = server.commands.recv() => Box::pin(server.execute(signals, file, command)).await,
                change = next_change(&mut watch) => match change {
                    FileChange::Config => server.reload_file(signals, file, Cause::FileWatch, None).await,
                    FileChange::Certificates => {
                        server.change(signals, |server| _ = server.reload_certificates(Cause::FileWatch)).await
                    }
                },
            };
            match reloaded {
                Ok(same) if same.is_handed_over => return End::Drain(Box::new(same)),
                Ok(same) => server = same,
                Err(end) => return end,
            }
            if let Some(watch) = &watch {
                watch.follow(file, &server.snapshot.config);
            }
        }
    }

    /// Executes a command of the control API. If a stop prevents that, the command gets no reply.
    async fn execute(self, signals: &mut Signals, file: &Path, command: Command) -> Result<Self, End> {
        let Command { kind, reply } = command;
        let run = match kind {
            CommandKind::Reload => return self.reload_file(signals, file, Cause::Api, Some(reply)).await,
            CommandKind::ReloadCertificates => Self::reload_certificates,
            CommandKind::Rollback => Self::roll_back,
        };
        self.change(signals, move |server| _ = reply.send(run(server, Cause::Api))).await
    }

    /// Reads the configuration file and puts it into effect. Sends the result to `reply`.
    async fn reload_file(
        self,
        signals: &mut Signals,
        file: &Path,
        cause: Cause,
        reply: Option<oneshot::Sender<Reload>>,
    ) -> Result<Self, End> {
        let path = file.to_owned();
        let state = self.state.clone();
        // Reading may block on a pipe or a file server. That must not prevent a stop or a restart.
        let read = select! {
            read = spawn_blocking(move || read(&path)) => read,
            request = state.watchdog.requested() => {
                tracing::warn!("Configuration reload cancelled by a restart: {} is still being read", file.display());
                return Err(End::Restart(Box::new(self), request));
            }
            () = signals.stop() => {
                tracing::warn!("Configuration reload cancelled by shutdown: {} is still being read", file.display());
                return Err(End::Drain(Box::new(self)));
            }
        };
        let Ok(read) = read else { return Err(End::Abort) };
        let reload = move |server: &mut Self| {
            let result = server.reload(read, cause);
            if let Some(reply) = reply {
                let _client_left = reply.send(result);
            }
        };
        Box::pin(self.change(signals, reload)).await
    }

    /// Changes the server beside this thread. `change` logs its result; the process continues in any case.
    async fn change(
        mut self,
        signals: &mut Signals,
        change: impl FnOnce(&mut Self) + Send + 'static,
    ) -> Result<Self, End> {
        let state = self.state.clone();
        let mut changing: JoinHandle<Self> = spawn_blocking(move || {
            change(&mut self);
            self
        });
        let mut is_stopping = false;
        let changed = loop {
            select! {
                changed = &mut changing => break changed,
                () = signals.stop() => {
                    if is_stopping {
                        return Err(End::Abort);
                    }
                    is_stopping = true;
                    state.upgrade.is_cancelled.store(true, Relaxed);
                    tracing::info!("Stopping when the reload is done; a second signal stops at once");
                }
            }
        };
        match changed {
            Ok(server) if is_stopping => Err(End::Drain(Box::new(server))),
            Ok(server) => Ok(server),
            Err(_panicked) => Err(End::Abort),
        }
    }
}

/// Drains after an upgrade. The first signal, which all processes of a service get, finds the drain begun; a second one ends the
/// process at once. Returns the exit status.
async fn leave(server: Server, signals: &mut Signals) -> i32 {
    let mut stopped = spawn_blocking(move || server.stop());
    select! {
        _ = &mut stopped => return 0,
        () = signals.stop() => {}
    }
    select! {
        _ = stopped => 0,
        () = signals.stop() => 1,
    }
}

async fn next_change(watch: &mut Option<FileWatch>) -> FileChange {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
