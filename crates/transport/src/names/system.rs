//! Name resolution as the system is configured: `/etc/hosts` first, then the name servers, search domains and options of
//! `/etc/resolv.conf`. Both files are read again when they have changed.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::parse_resolv_conf,
};

use super::{family::Answer, schedule::Kind};

/// The TTL of an entry of the hosts file, which is read again when it changes.
const HOSTS_TTL: Duration = Duration::from_secs(1);

/// The files that configure name resolution.
#[derive(Clone, Debug)]
pub struct SystemFiles {
    /// Name servers, search domains and options; without the file, a name server on this machine is used.
    pub resolv_conf: PathBuf,
    /// Names that need no name server.
    pub hosts: PathBuf,
    /// The port of the name servers.
    pub port: u16,
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into(), port: 53 }
    }
}

/// What shows that a file has changed.
type Stamp = Option<(SystemTime, u64)>;

/// The resolver of the system.
pub(super) struct System {
    files: SystemFiles,
    /// Of `resolv_conf` and `hosts` when they were read.
    stamps: Option<[Stamp; 2]>,
    resolver: Option<(TokioResolver, Arc<Hosts>)>,
}

impl System {
    pub(super) fn new(files: SystemFiles) -> Self {
        Self { files, stamps: None, resolver: None }
    }

    /// Returns what one lookup needs. Reads the files if they have changed.
    pub(super) fn current(&mut self) -> Result<(TokioResolver, Arc<Hosts>), NetError> {
        let stamps = [&self.files.resolv_conf, &self.files.hosts].map(|path| stamp(path));
        match &self.resolver {
            Some(current) if self.stamps == Some(stamps) => Ok(current.clone()),
            _ => {
                let current = read(&self.files)?;
                self.stamps = Some(stamps);
                Ok(self.resolver.insert(current).clone())
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(files: &SystemFiles) -> Result<(TokioResolver, Arc<Hosts>), NetError> {
    let configured = fs::read(&files.resolv_conf).ok().and_then(|text| parse_resolv_conf(text).ok());
    // As the C library does without a usable file.
    let local = || {
        let server = NameServerConfig::udp_and_tcp(std::net::Ipv4Addr::LOCALHOST.into());
        (ResolverConfig::from_parts(None, Vec::new(), vec![server]), ResolverOpts::default())
    };
    let (config, mut options) = configured.unwrap_or_else(local);
    // `Resolver` decides when a name is looked up again, and hosts are looked up here.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    let (domain, search, mut servers) = config.into_parts();
    servers.iter_mut().flat_map(|server| &mut server.connections).for_each(|connection| connection.port = files.port);
    let config = ResolverConfig::from_parts(domain, search, servers);
    let resolver =
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()?;
    let mut hosts = Hosts::default();
    match File::open(&files.hosts) {
        Ok(file) => hosts.read_hosts_conf(file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok((resolver, Arc::new(hosts)))
}

/// Looks up one record type of a name.
pub(super) async fn lookup(resolver: TokioResolver, hosts: Arc<Hosts>, host: String, kind: Kind) -> Answer {
    if let Some(answer) = in_hosts(&hosts, &host, kind) {
        return answer;
    }
    let record_type = match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    match resolver.lookup(host.as_str(), record_type).await {
        Ok(lookup) => found(&lookup),
        Err(error) if error.is_no_records_found() => Answer::Addresses(Vec::new(), Duration::ZERO),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// The smallest TTL counts, also of the aliases that lead to the addresses.
fn found(lookup: &Lookup) -> Answer {
    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
    let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
    Answer::Addresses(addresses, Duration::from_secs(u64::from(ttl)))
}

/// Returns the entry of the hosts file. A name that it has with addresses of one family has none of the other.
fn in_hosts(hosts: &Hosts, host: &str, kind: Kind) -> Option<Answer> {
    let mut name = Name::from_utf8(host).ok()?;
    name.set_fqdn(true);
    let [v4, v6] = [RecordType::A, RecordType::AAAA]
        .map(|record_type| hosts.lookup_static_host(&Query::query(name.clone(), record_type)));
    if v4.is_none() && v6.is_none() {
        return None;
    }
    let lookup = match kind {
        Kind::A => v4,
        Kind::Aaaa => v6,
    };
    let addresses = lookup.iter().flat_map(Lookup::answers).filter_map(|record| record.data.ip_addr());
    Some(Answer::Addresses(addresses.collect(), HOSTS_TTL))
}
