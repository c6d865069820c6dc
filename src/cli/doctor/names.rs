//! What name servers say: whether they answer, of the Sources, of the sending domains.

use std::net::IpAddr;

use serde_json::Value;

use super::super::beside;
use super::report::{Line, Mark};
use crate::actors::tools::SourceSettings;
use crate::app::hostname;
use crate::config::Settings;
use crate::domain::{DkimAlgorithm, DkimKey, DomainStatus, SendingDomain, TenantId, Timestamp};
use crate::policy::source_health::{Check, Finding};
use crate::resolver::{Answer, Hickory, RecordStatus, Resolver, check_domain, check_source};
use crate::transport;

/// Domains that are looked at.
const DOMAINS_MAX: usize = 50;
/// Asked when no domain is known: any clear answer will do.
const PROBE: &str = "example.com";

/// Everything that is a name.
pub(super) async fn look(settings: &Settings, engine: &Option<Value>) -> Vec<Line> {
    let resolver = match Hickory::new(settings.resolver.clone()) {
        Ok(resolver) => resolver,
        Err(error) => {
            return vec![
                Line::new("dns", "name servers", Mark::Bad, error.to_string()).remedy("Name some under `dns.servers`."),
            ];
        }
    };
    let mut lines = vec![answers(settings, &resolver).await];
    for source in &settings.sources {
        lines.extend(of_source(settings, source, &resolver).await);
    }
    let domains = match engine {
        Some(_) => beside::ask(settings, "GET", "/v1/admin/domains", None).await.ok(),
        None => None,
    };
    lines.extend(of_domains(settings, domains.as_ref(), &resolver).await);
    lines
}

async fn answers(settings: &Settings, resolver: &dyn Resolver) -> Line {
    let name = settings.domains.first().map_or(PROBE, |domain| domain.name.as_str());
    match resolver.mx(name).await {
        Answer::Failed => Line::new("dns", "name servers", Mark::Bad, "they do not answer")
            .remedy("See /etc/resolv.conf, or name others under `dns.servers`."),
        _ => Line::new("dns", "name servers", Mark::Good, "they answer"),
    }
}

async fn of_source(settings: &Settings, source: &SourceSettings, resolver: &dyn Resolver) -> Vec<Line> {
    let id = &source.room.id;
    let Some(address) = source.ip else {
        let detail = "the system chooses its address, so nothing can be looked at";
        return vec![Line::new("sources", id.as_str(), Mark::Skipped, detail)];
    };
    let ehlo = match source.ehlo.as_str() {
        "" => hostname(&settings.hostname),
        name => name.to_owned(),
    };
    let bind = match transport::is_local(address) {
        true => Finding::Good,
        false => Finding::Bad(format!("{address} is not an address of this machine")),
    };
    let mut found = vec![(Check::Bind, bind)];
    let named = check_source(&ehlo, address, &settings.health.dnsbl, resolver).await;
    let is_inside = named.is_empty();
    found.extend(named);
    let mut lines: Vec<Line> = found
        .into_iter()
        .map(|(check, finding)| of_finding(format!("{id} {check}"), address, check, finding))
        .collect();
    if is_inside {
        let detail = format!("{address} is of a private network: no provider sees it");
        lines.push(Line::new("sources", id.as_str(), Mark::Skipped, detail));
    }
    lines
}

fn of_finding(name: String, address: IpAddr, check: Check, finding: Finding) -> Line {
    let (mark, detail) = match finding {
        Finding::Good => (Mark::Good, address.to_string()),
        Finding::Bad(detail) => (Mark::Bad, detail),
        Finding::Unclear(detail) => (Mark::Warning, detail),
    };
    Line::new("sources", name, mark, detail).remedy(check.remedy())
}

async fn of_domains(settings: &Settings, known: Option<&Value>, resolver: &dyn Resolver) -> Vec<Line> {
    let mut lines = Vec::new();
    let Some(known) = known else {
        for domain in settings.domains.iter().take(DOMAINS_MAX) {
            if domain.dkim {
                let detail = "its keys are in the store: look again while the engine runs";
                lines.push(Line::new(
                    "domains",
                    format!("{} DKIM", domain.name),
                    Mark::Skipped,
                    detail,
                ));
            }
            lines.extend(of_policies(&domain.name, &format!("bounce.{}", domain.name), resolver).await);
        }
        return lines;
    };
    for domain in known["data"].as_array().into_iter().flatten().take(DOMAINS_MAX) {
        let (Some(name), Some(return_path)) = (domain["name"].as_str(), domain["return_path"].as_str()) else {
            continue;
        };
        lines.extend(of_keys(name, &domain["dkim"], resolver).await);
        lines.extend(of_policies(name, return_path, resolver).await);
    }
    lines
}

async fn of_keys(name: &str, keys: &Value, resolver: &dyn Resolver) -> Vec<Line> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |key: &Value| DkimKey {
        selector: text(&key["selector"]),
        algorithm: DkimAlgorithm::Rsa2048,
        private_der: Vec::new(),
        record: text(&key["value"]),
    };
    let domain = SendingDomain {
        tenant: TenantId(0),
        name: name.to_owned(),
        status: DomainStatus::Pending,
        return_path_subdomain: String::new(),
        dkim: keys.as_array().into_iter().flatten().map(key).collect(),
        created_at: Timestamp(0),
        checked_at: None,
    };
    let found = check_domain(&domain, resolver).await;
    let line = |record: &crate::resolver::RecordCheck| {
        let mark = match record.status {
            RecordStatus::Found => Mark::Good,
            RecordStatus::NoAnswer => Mark::Warning,
            RecordStatus::Missing | RecordStatus::Wrong(_) => Mark::Bad,
        };
        let detail = record.status.name().replace('_', " ");
        Line::new("domains", format!("{name} DKIM {}", record.name), mark, detail)
            .remedy(format!("Publish as TXT: {}", record.expected))
    };
    found.records.iter().map(line).collect()
}

/// SPF at the return path, DMARC at the domain.
async fn of_policies(name: &str, return_path: &str, resolver: &dyn Resolver) -> [Line; 2] {
    let dmarc = format!("_dmarc.{name}");
    let spf = one_record(&resolver.txt(return_path).await, "v=spf1");
    let policy = one_record(&resolver.txt(&dmarc).await, "v=dmarc1");
    let line = |what: &str, at: &str, (mark, detail): (Mark, &str)| {
        Line::new("domains", format!("{name} {what}"), mark, format!("{detail} at {at}"))
    };
    [
        line("SPF", return_path, spf).remedy(format!(
            "Publish as TXT at {return_path}: v=spf1 ip4:<address of each source> -all"
        )),
        line("DMARC", &dmarc, policy).remedy(format!("Publish as TXT at {dmarc}: v=DMARC1; p=none")),
    ]
}

/// Whether exactly one of the records begins like this, whatever its case.
fn one_record(answer: &Answer<String>, begins: &str) -> (Mark, &'static str) {
    match answer {
        Answer::Failed | Answer::Loop => (Mark::Warning, "no answer"),
        Answer::Empty(_) | Answer::NoDomain(_) => (Mark::Bad, "no record"),
        Answer::Found(records, _) => {
            let ours = |record: &&String| record.to_ascii_lowercase().starts_with(begins);
            match records.iter().filter(ours).count() {
                0 => (Mark::Bad, "no record"),
                1 => (Mark::Good, "found"),
                _ => (Mark::Bad, "several records, which is an error"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_record_is_good_and_several_are_an_error() {
        let found = |records: &[&str]| {
            let records = records.iter().map(|record| (*record).to_owned()).collect();
            one_record(&Answer::Found(records, Duration::ZERO), "v=spf1").0
        };
        assert_eq!(found(&["other", "V=SPF1 -all"]), Mark::Good);
        assert_eq!(found(&["other"]), Mark::Bad);
        assert_eq!(found(&["v=spf1 -all", "v=spf1 ~all"]), Mark::Bad);
        assert_eq!(one_record(&Answer::NoDomain(Duration::ZERO), "v=spf1").0, Mark::Bad);
        assert_eq!(one_record(&Answer::Failed, "v=spf1").0, Mark::Warning);
    }
}
