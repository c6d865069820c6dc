//! Everything that is not work: tenants, keys, domains, templates, suppressions.
//!
//! Takes and gives domain types; plain maps. Never looks at deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{
    ApiKey, Note, NoteKind, SendingDomain, Stream, Suppression, Template, TemplateId, Tenant, TenantId,
};

/// The records.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) tenants: BTreeMap<TenantId, Tenant>,
    pub(super) keys: BTreeMap<[u8; 32], ApiKey>,
    pub(super) domains: BTreeMap<(TenantId, String), SendingDomain>,
    /// By tenant and alias.
    aliases: BTreeMap<(TenantId, String), TemplateId>,
    /// All versions, oldest first.
    templates: BTreeMap<TemplateId, Vec<Arc<Template>>>,
    /// By tenant and address in lower case.
    suppressions: BTreeMap<(TenantId, String), Suppression>,
    /// By kind and key.
    notes: BTreeMap<(NoteKind, Vec<u8>), Note>,
}

impl Records {
    /// One version of a template.
    pub(super) fn template_version(&self, id: TemplateId, version: u32) -> Option<Arc<Template>> {
        let mut versions = self.templates.get(&id)?.iter();
        versions.find(|template| template.version == version).cloned()
    }

    /// A template of a tenant by alias or, if there is no such alias, by id.
    pub(super) fn template(&self, tenant: TenantId, reference: &str, version: Option<u32>) -> Option<Arc<Template>> {
        let by_alias = self.aliases.get(&(tenant, reference.to_owned())).copied();
        let versions = self.templates.get(&by_alias.or_else(|| reference.parse().ok())?)?;
        let template = match version {
            Some(version) => versions.iter().find(|template| template.version == version)?,
            None => versions.last()?,
        };
        (template.tenant == tenant).then(|| Arc::clone(template))
    }

    /// The newest versions of a tenant's templates, by alias.
    pub(super) fn newest_templates(&self, tenant: TenantId, max: usize) -> Vec<Arc<Template>> {
        let aliases = self.aliases.range((tenant, String::new())..);
        let own = aliases.take_while(|((owner, _), _)| *owner == tenant);
        let newest = own.filter_map(|(_, id)| self.templates.get(id)?.last());
        newest.take(max).cloned().collect()
    }

    /// A new version under the draft's alias. Id and number of the draft count for a new alias only.
    pub(super) fn put_template(&mut self, mut draft: Template) -> Arc<Template> {
        let alias = (draft.tenant, draft.alias.clone());
        draft.id = *self.aliases.entry(alias).or_insert(draft.id);
        let versions = self.templates.entry(draft.id).or_default();
        draft.version = versions.last().map_or(1, |newest| newest.version + 1);
        let stored = Arc::new(draft);
        versions.push(Arc::clone(&stored));
        stored
    }

    /// All versions of all templates.
    pub(super) fn all_templates(&self) -> impl Iterator<Item = Arc<Template>> + '_ {
        self.templates.values().flatten().cloned()
    }

    /// A version of a template that another store made.
    pub(super) fn restore_template(&mut self, template: Arc<Template>) {
        let versions = self.templates.entry(template.id).or_default();
        if !versions.iter().any(|known| known.version == template.version) {
            let alias = (template.tenant, template.alias.clone());
            self.aliases.insert(alias, template.id);
            versions.push(template);
            versions.sort_by_key(|template| template.version);
        }
    }

    /// Writes a note, or takes one away.
    pub(super) fn put_note(&mut self, note: Note) {
        let key = (note.kind(), note.key().to_vec());
        if note.is_removal() {
            self.notes.remove(&key);
        } else {
            self.notes.insert(key, note);
        }
    }

    /// All notes of a kind, by key.
    pub(super) fn notes(&self, kind: NoteKind) -> impl Iterator<Item = Note> + '_ {
        let first = self.notes.range((kind, Vec::new())..);
        first
            .take_while(move |((of, _), _)| *of == kind)
            .map(|(_, note)| note.clone())
    }

    /// The whole suppression list.
    pub(super) fn all_suppressions(&self) -> impl Iterator<Item = Suppression> + '_ {
        self.suppressions.values().cloned()
    }

    /// Whether mail of this stream must not go to `address`.
    pub(super) fn is_suppressed(&self, tenant: TenantId, stream: Stream, address: &str) -> bool {
        let entry = self.suppression(tenant, address);
        entry.is_some_and(|entry| entry.stream.is_none_or(|held| held == stream))
    }

    /// The entry of an address.
    pub(super) fn suppression(&self, tenant: TenantId, address: &str) -> Option<&Suppression> {
        self.suppressions.get(&(tenant, address.to_lowercase()))
    }

    /// Puts an address on the list. An entry never gets narrower by another one: a mailbox that does not exist is not
    /// opened again because its former owner unsubscribes from one stream. Two different streams make it all mail.
    pub(super) fn put_suppression(&mut self, mut suppression: Suppression) {
        suppression.address = suppression.address.to_lowercase();
        match self.suppression(suppression.tenant, &suppression.address) {
            Some(held) if held.stream.is_none() && suppression.stream.is_some() => return,
            Some(held) if held.stream != suppression.stream => suppression.stream = None,
            _ => {}
        }
        let key = (suppression.tenant, suppression.address.clone());
        self.suppressions.insert(key, suppression);
    }

    /// Takes an address off the list.
    pub(super) fn delete_suppression(&mut self, tenant: TenantId, address: &str) -> bool {
        self.suppressions.remove(&(tenant, address.to_lowercase())).is_some()
    }
}
