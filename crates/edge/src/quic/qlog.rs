//! The configuration of connections with a qlog file each (`log.qlog_dir`).

use quinn_proto::{ConnectionId, QlogConfig, ServerConfig, TransportConfig};
use spooky_telemetry::QlogFiles;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the configuration of such a connection is made of: quinn-proto has one file for each configuration of the transport.
pub(crate) struct Qlog {
    files: QlogFiles,
    /// Makes the configuration of the transport.
    transport: Box<dyn Fn() -> Option<TransportConfig> + Send + Sync>,
}

impl Qlog {
    pub(crate) fn new(
        files: QlogFiles,
        transport: impl Fn() -> Option<TransportConfig> + Send + Sync + 'static,
    ) -> Self {
        Self { files, transport: Box::new(transport) }
    }

    /// Returns the configuration for one connection. `id` is the connection id that its client chose first.
    pub(crate) fn config(&self, config: &ServerConfig, id: ConnectionId) -> Arc<ServerConfig> {
        let mut config = config.clone();
        if let Some(mut transport) = (self.transport)() {
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
