//! What the API is tested on: one tenant with a key and a verified domain, time that stands where it was put.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::http::Method;
use actix_web::test;
use async_trait::async_trait;
use posthaste::actors::intake::{IntakeHandle, IntakeParts};
use posthaste::actors::supervisor::Surroundings;
use posthaste::api::{ApiParts, ApiSettings, ApiState, server};
use posthaste::clock::Clock;
use posthaste::domain::{
    ApiKey, Board, Class, DeliveryId, DomainStatus, KeyScope, Lane, Node, Place, SendingDomain, Settlement, TenantId,
    Timestamp,
};
use posthaste::observe::Observer;
use posthaste::policy::admission::AdmissionSettings;
use posthaste::policy::api_key;
use posthaste::policy::restart::RestartSettings;
use posthaste::queue::{
    Accept, Accepted, Claim, Claims, Depth, Intent, IntentAnswer, LeaseRef, Leased, Parking, Queue, QueueError,
    Release, SettleAnswer, WaitersCursor, WaitersPage, Waits,
};
use posthaste::resolver::Fixed;
use posthaste::store::{Memory, Store};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) const NOW: Timestamp = Timestamp(1_763_895_723_456);
pub(crate) const TENANT: TenantId = TenantId(1);

/// An API on an empty backend, and ways to call it.
pub(crate) struct Bed {
    pub(crate) memory: Arc<Memory>,
    pub(crate) queue: Arc<Faulty>,
    pub(crate) resolver: Fixed,
    pub(crate) state: Arc<ApiState>,
    pub(crate) key: String,
    pub(crate) observer: Arc<Observer>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The id of the accepted mail.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, 202, "{self:?}");
        self.json()["id"].as_str().expect("an id").to_owned()
    }

    /// What is wrong, as pairs of pointer and code.
    #[track_caller]
    pub(crate) fn errors(&self) -> Vec<(String, String)> {
        let document = self.json();
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        errors
            .iter()
            .map(|error| (text(&error["pointer"]), text(&error["code"])))
            .collect()
    }
}

impl Bed {
    /// What the intakes of the API under test need.
    pub(crate) fn intake(&self) -> IntakeParts {
        IntakeParts {
            queue: Arc::clone(&self.queue) as Arc<dyn Queue>,
            surroundings: Surroundings {
                clock: Clock::starting_at(NOW),
                observer: Arc::default(),
                restarts: RestartSettings::default(),
                escalate: Arc::new(|kind| panic!("{kind} cannot be kept alive")),
            },
            in_flight_max: 1_000,
            in_flight: Arc::default(),
            mailbox: 1_000,
        }
    }

    pub(crate) async fn new() -> Self {
        Self::with(ApiSettings::default()).await
    }

    pub(crate) async fn with(settings: ApiSettings) -> Self {
        let memory = Arc::new(Memory::new());
        let queue = Arc::new(Faulty {
            memory: Arc::clone(&memory),
            fault: Mutex::new(None),
            gate: Mutex::new(None),
            panics: AtomicBool::new(false),
        });
        let resolver = Fixed::new();
        let observer = Arc::new(Observer::new());
        let state = Arc::new(ApiState::new(ApiParts {
            queue: Arc::clone(&queue) as Arc<dyn Queue>,
            store: Arc::clone(&memory) as Arc<dyn Store>,
            resolver: Arc::new(resolver.clone()),
            clock: Clock::starting_at(NOW),
            observer: Arc::clone(&observer),
            settings,
            admission: AdmissionSettings::default(),
            reputation: Arc::default(),
        }));
        let bed = Self {
            memory,
            queue,
            resolver,
            state,
            key: api_key::make(&[1; 32]),
            observer,
        };
        bed.put_key(&bed.key, TENANT).await;
        bed.put_domain("acme.com", DomainStatus::Verified).await;
        bed
    }

    pub(crate) async fn put_key(&self, key: &str, tenant: TenantId) {
        self.put_scoped_key(key, tenant, KeyScope::Send).await;
    }

    pub(crate) async fn put_scoped_key(&self, key: &str, tenant: TenantId, scope: KeyScope) {
        let key = ApiKey {
            hash: api_key::hash(key),
            tenant,
            name: "test".into(),
            last4: api_key::last4(key),
            created_at: NOW,
            revoked_at: None,
            scope,
        };
        self.memory.put_key(key).await.expect("stored");
    }

    pub(crate) async fn put_domain(&self, name: &str, status: DomainStatus) {
        let domain = SendingDomain {
            tenant: TENANT,
            name: name.into(),
            status,
            return_path_subdomain: "bounce".into(),
            dkim: Vec::new(),
            created_at: NOW,
            checked_at: None,
        };
        self.memory.put_domain(domain).await.expect("stored");
    }

    /// Messages accepted so far.
    pub(crate) async fn accepted(&self) -> u64 {
        self.memory.depth(NOW).await.expect("memory").messages
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[], body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    /// A call with the key.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.bare_call(method, path, &all, body).await
    }

    /// A call with nothing added but a content type for bodies.
    pub(crate) async fn bare_call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let intake = IntakeHandle::start(self.intake());
        let app = test::init_service(server::app(Arc::clone(&self.state), intake)).await;
        let body = body.into();
        let mut request = test::TestRequest::with_uri(path).method(method);
        let typed = headers.iter().any(|(name, _)| *name == "content-type");
        if !body.is_empty() && !typed {
            request = request.insert_header(("content-type", "application/json"));
        }
        for header in headers {
            request = request.append_header(*header);
        }
        let response = test::call_service(&app, request.set_payload(body).to_request()).await;
        let status = response.status().as_u16();
        let pairs = response.headers().iter();
        let headers = pairs
            .map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()))
            .collect();
        let bytes = test::read_body(response).await;
        Answer {
            status,
            headers,
            text: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        }
    }
}

/// The smallest mail that is accepted.
pub(crate) fn mail() -> Value {
    json!({"from": "Acme <no-reply@acme.com>", "to": "jacky@example.com", "subject": "Hi", "text": "Hello"})
}

/// The smallest mail with these fields put in.
pub(crate) fn mail_with(fields: &Value) -> Value {
    let mut mail = mail();
    let own = mail.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        own.insert(name.clone(), value.clone());
    }
    mail
}

/// The backend in memory, with an accept that can fail or be made to wait.
#[derive(Debug)]
pub(crate) struct Faulty {
    memory: Arc<Memory>,
    fault: Mutex<Option<QueueError>>,
    gate: Mutex<Option<Arc<Notify>>>,
    panics: AtomicBool,
}

impl Faulty {
    /// Every accept fails like this from now on; none ends it.
    pub(crate) fn fail_with(&self, fault: Option<QueueError>) {
        *self.fault.lock().expect("lock") = fault;
    }

    /// Every accept panics from now on.
    pub(crate) fn panic(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    /// The next accept waits for this first.
    pub(crate) fn wait_for(&self, gate: Arc<Notify>) {
        *self.gate.lock().expect("lock") = Some(gate);
    }
}

#[async_trait]
impl Claims for Faulty {
    async fn claim(&self, _: Claim) -> Result<Board, QueueError> {
        panic!("the API sends from nowhere");
    }
    async fn leave(&self, _: &Node) -> Result<(), QueueError> {
        panic!("the API sends from nowhere");
    }
    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        self.memory.board(now).await
    }
}

#[async_trait]
impl Waits for Faulty {
    async fn place(&self, delivery: DeliveryId, now: Timestamp) -> Result<Option<Place>, QueueError> {
        self.memory.place(delivery, now).await
    }
    async fn waiters(&self, after: Option<&WaitersCursor>, max: usize) -> Result<WaitersPage, QueueError> {
        self.memory.waiters(after, max).await
    }
}

#[async_trait]
impl Queue for Faulty {
    async fn accept(&self, accept: Accept) -> Result<Accepted, QueueError> {
        assert!(!self.panics.load(Ordering::Relaxed), "as the test asked for");
        let gate = self.gate.lock().expect("lock").take();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let fault = self.fault.lock().expect("lock").clone();
        match fault {
            Some(fault) => Err(fault),
            None => self.memory.accept(accept).await,
        }
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, QueueError> {
        let fault = self.fault.lock().expect("lock").clone();
        match fault {
            Some(fault) => Err(fault),
            None => self.memory.depth(now).await,
        }
    }

    async fn lease(&self, _: Class, _: usize, _: Timestamp, _: Timestamp) -> Result<Vec<Leased>, QueueError> {
        panic!("the API takes no work");
    }
    async fn lease_parked(&self, _: &Lane, _: usize, _: Timestamp, _: Timestamp) -> Result<Vec<Leased>, QueueError> {
        panic!("the API takes no work");
    }
    async fn lease_expired(&self, _: usize, _: Timestamp, _: Timestamp) -> Result<Vec<Leased>, QueueError> {
        panic!("the API takes no work");
    }
    async fn park(&self, _: Vec<Parking>) -> Result<(), QueueError> {
        panic!("the API takes no work");
    }
    async fn release(&self, _: Vec<Release>) -> Result<(), QueueError> {
        panic!("the API takes no work");
    }
    async fn renew(&self, _: Vec<LeaseRef>, _: Timestamp) -> Result<Vec<LeaseRef>, QueueError> {
        panic!("the API takes no work");
    }
    async fn intent(&self, _: Intent) -> Result<IntentAnswer, QueueError> {
        panic!("the API takes no work");
    }
    async fn refund(&self, _: &Lane, _: u32) -> Result<(), QueueError> {
        panic!("the API takes no work");
    }
    async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<SettleAnswer>, QueueError> {
        panic!("the API takes no work");
    }
    async fn cancel(&self, _: DeliveryId, _: Timestamp) -> Result<bool, QueueError> {
        panic!("the API takes no work");
    }
    async fn next_due(&self, _: Class) -> Result<Option<Timestamp>, QueueError> {
        panic!("the API takes no work");
    }
    async fn parked_lanes(&self, max: usize) -> Result<Vec<(Lane, u64)>, QueueError> {
        self.memory.parked_lanes(max).await
    }
    fn wake(&self) -> Arc<Notify> {
        self.memory.wake()
    }
}
