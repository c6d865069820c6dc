//! The linter of `providers.yaml`: whether each provider and each host can be met.
//!
//! Takes the text of the file; gives the providers that can be used, and findings. What the loader refuses is a finding, and
//! the other providers are looked at as if it were not there.

use std::collections::BTreeSet;

use super::{ProviderMap, RawProvider, read_raw};
use crate::domain::ProviderId;
use crate::policy::rules_lint::{Fault, Finding, RulesFile};

const FILE: RulesFile = RulesFile::Providers;

/// Looks at the file.
#[must_use]
pub(in crate::policy) fn lint_providers(yaml: &str) -> (BTreeSet<ProviderId>, Vec<Finding>) {
    let empty = read_raw(yaml).and_then(|raw| Ok((ProviderMap::empty(&raw)?, raw)));
    let (mut map, raw) = match empty {
        Ok(read) => read,
        Err(error) => return (BTreeSet::new(), vec![Finding::of_error(FILE, &error)]),
    };
    let mut known = BTreeSet::new();
    let mut findings = Vec::new();
    for provider in raw.providers {
        let line = provider.defined.line();
        // Rules for a provider that needs mending are not wrong for that.
        known.insert(ProviderId::from(provider.value.id.as_str()));
        match map.add(&provider.value, line) {
            Ok(()) => findings.extend(hosts(&provider.value, line)),
            Err(error) => findings.push(Finding::of_error(FILE, &error)),
        }
    }
    (known, findings)
}

/// What is wrong with the hosts of one provider.
fn hosts(provider: &RawProvider, line: u64) -> Vec<Finding> {
    let finding = |fault, problem: String| Finding {
        file: FILE,
        line,
        name: provider.id.clone(),
        fault,
        problem,
    };
    let mut findings = Vec::new();
    for name in &provider.mx {
        let host = name.strip_prefix('.').unwrap_or(name);
        let is_suffix = psl::suffix(host.as_bytes())
            .is_some_and(|suffix| suffix.typ() == Some(psl::Type::Icann) && suffix.as_bytes() == host.as_bytes());
        if is_suffix {
            let problem = format!("mx: everybody can have a name under {name:?}");
            findings.push(finding(Fault::PublicSuffix, problem));
        }
        let covering = provider.mx.iter().find(|other| {
            *other != name && other.starts_with('.') && name.ends_with(other.as_str()) && name.len() > other.len()
        });
        if let Some(other) = covering {
            findings.push(finding(Fault::CoveredHost, format!("mx: {other:?} covers {name:?}")));
        }
    }
    findings
}
