//! The configuration of connections with a qlog file each (`log.qlog_dir`).

use super::congestion::LastLog;
use crate::settings::EdgeSettings;
use quinn_proto::{ConnectionId, QlogConfig, ServerConfig};
use spooky_telemetry::QlogFiles;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the configuration of such a connection is made of: quinn-proto has one file for each configuration of the transport.
pub(crate) struct Qlog {
    files: QlogFiles,
    settings: EdgeSettings,
    log: LastLog,
}

impl Qlog {
    /// Returns `None` if no files are wanted.
    pub(crate) fn new(settings: &EdgeSettings, log: &LastLog) -> Option<Box<Self>> {
        let files = settings.qlog.clone()?;
        Some(Box::new(Self { files, settings: settings.clone(), log: log.clone() }))
    }

    /// Returns the configuration for one connection. `id` is the connection id that its client chose first.
    pub(crate) fn config(&self, config: &ServerConfig, id: ConnectionId) -> Arc<ServerConfig> {
        let mut config = config.clone();
        if let Ok(mut transport) = self.settings.transport_config(&self.log) {
            let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let mut qlog = QlogConfig::default();
            qlog.writer(Box::new(self.files.create(format!("{started}-{id}.sqlog"))));
            qlog.title(Some(format!("connection {id}")));
            transport.qlog_stream(qlog.into_stream());
            config.transport_config(Arc::new(transport));
        }
        Arc::new(config)
    }
}
