//! `pockitd check health`: whether the server of this configuration answers and would take an upload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::print_line;
use crate::config::Config;
use crate::http::probe;

/// Asks at `address`, or where the configuration says that the server listens.
pub(super) async fn health(
    config: &Config,
    address: Option<SocketAddr>,
    patience: Duration,
    as_json: bool,
) -> Result<(), Failure> {
    let address = address.unwrap_or_else(|| reachable(config.http.listen));
    let over_tls = config.tls.certificate_file.is_some();
    let alive = probe::get(address, over_tls, "/healthz", patience).await?;
    let ready = probe::get(address, over_tls, "/readyz", patience).await?;
    let details: Value = serde_json::from_str(&ready.body).unwrap_or_default();
    let is_well = alive.status == 200 && ready.status == 200;
    if as_json {
        let report = json!({
            "address": address.to_string(),
            "alive": alive.status == 200,
            "ready": ready.status == 200,
            "checks": details.get("checks"),
        });
        print_line(&report.to_string())?;
    } else {
        print_line(&format!("alive   {}", told(alive.status)))?;
        print_line(&format!("ready   {}", told(ready.status)))?;
        let checks = details.get("checks").and_then(Value::as_object);
        for (name, state) in checks.into_iter().flatten() {
            let state = state.as_str().unwrap_or_default();
            print_line(&format!("{name:<7} {state}"))?;
        }
    }
    if is_well {
        Ok(())
    } else {
        Err(format!("the server at {address} is not ready: its log says why").into())
    }
}

fn told(status: u16) -> String {
    if status == 200 {
        "yes".to_owned()
    } else {
        format!("no: status {status}")
    }
}

/// An address to connect to. Whoever listens on every address is reached on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
