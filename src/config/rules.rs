//! The rules that an engine uses: those that are built in, or an operator's.
//!
//! Takes a directory; gives its files, read and kept as text, so that a reload can tell whether one has changed. A file with
//! another name is refused: rules that nobody reads look as if they worked. Never writes.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::settings::{ConfigError, unfit};
use crate::policy::classify::Classifier;
use crate::policy::provider_map::ProviderMap;
use crate::policy::rules_file::{FILE_BYTES_MAX, RulesError};
use crate::policy::warmup_ladder::Ladders;

/// What replies mean.
const BOUNCES: &str = "bounces.yaml";
/// Who runs mailboxes.
const PROVIDERS: &str = "providers.yaml";
/// How new Sources are made known.
const WARMUP: &str = "warmup.yaml";
/// All files of rules.
const FILES: [&str; 3] = [BOUNCES, PROVIDERS, WARMUP];

/// Files of rules; those that an operator has not written are built in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RuleFiles {
    folder: Option<PathBuf>,
    texts: BTreeMap<&'static str, Arc<str>>,
}

impl fmt::Debug for RuleFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.texts.keys().copied().collect();
        write!(f, "RuleFiles({:?}: {})", self.folder, names.join(", "))
    }
}

impl RuleFiles {
    /// The rules that are built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::default()
    }

    /// The rules of a directory.
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        let unreadable = |path: &Path, error: &std::io::Error| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
        let mut texts = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(folder, &error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.ends_with(".yaml") && !name.ends_with(".yml") {
                continue;
            }
            let Some(known) = FILES.into_iter().find(|known| *known == name) else {
                let problem = format!("nobody reads {name}: there are {}", FILES.join(", "));
                return Err(unfit(format!("rules: {}", folder.display()), &problem));
            };
            let text = text_of(&path).map_err(|error| unreadable(&path, &error))?;
            texts.insert(known, Arc::from(text));
        }
        if texts.is_empty() {
            let problem = format!("none of {} is there", FILES.join(", "));
            return Err(unfit(format!("rules: {}", folder.display()), &problem));
        }
        Ok(Self {
            folder: Some(folder.to_owned()),
            texts,
        })
    }

    /// The directory, if they are an operator's.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The text of `bounces.yaml`.
    #[must_use]
    pub fn bounces(&self) -> &str {
        self.texts.get(BOUNCES).map_or(Classifier::BUILT_IN, |text| text)
    }

    /// The text of `providers.yaml`.
    #[must_use]
    pub fn providers(&self) -> &str {
        self.texts.get(PROVIDERS).map_or(ProviderMap::BUILT_IN, |text| text)
    }

    /// The text of `warmup.yaml`.
    #[must_use]
    pub fn warmup(&self) -> &str {
        self.texts.get(WARMUP).map_or(Ladders::BUILT_IN, |text| text)
    }

    /// What judges replies by these rules.
    pub fn classifier(&self) -> Result<Classifier, ConfigError> {
        Classifier::from_yaml(self.bounces()).map_err(|error| self.wrong(BOUNCES, error))
    }

    /// Who runs mailboxes, by these rules.
    pub fn provider_map(&self) -> Result<ProviderMap, ConfigError> {
        ProviderMap::from_yaml(self.providers()).map_err(|error| self.wrong(PROVIDERS, error))
    }

    /// How Sources are warmed up, by these rules.
    pub fn ladders(&self) -> Result<Ladders, ConfigError> {
        Ladders::from_yaml(self.warmup()).map_err(|error| self.wrong(WARMUP, error))
    }

    fn wrong(&self, name: &str, error: RulesError) -> ConfigError {
        let path = self.folder.clone().unwrap_or_else(|| PathBuf::from("rules")).join(name);
        ConfigError::Rules { path, error }
    }
}

/// The text of a file, but no more than a loader takes, which says that it is too large.
fn text_of(path: &Path) -> std::io::Result<String> {
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // Cut in the middle of a character: what is there is too large all the same.
        Err(error) if error.as_bytes().len() > FILE_BYTES_MAX => Ok(" ".repeat(error.as_bytes().len())),
        Err(error) => Err(std::io::Error::other(format!(
            "it is not UTF-8: {}",
            error.utf8_error()
        ))),
    }
}
