//! Scenarios drawn from a seed: receivers that nobody has tuned anything for.
//!
//! Takes a seed, gives a valid [`Scenario`] within the ranges that the figures to reach name, a little wider.

use provider_sim::{BadAnswer, BadBackends, Bucket, Distribution, PenaltyBox, Scenario, Service, Step};

/// The scenario of this seed.
pub(crate) fn scenario(seed: u64) -> Scenario {
    let mut random = fastrand::Rng::with_seed(seed);
    let random = &mut random;
    let kind = random.u32(0..8);
    let with_rate = matches!(kind, 2..=5);
    let with_cap = !matches!(kind, 2..=4);
    let rates = match with_rate {
        true => {
            let per_second = logarithmic(random, 0.5, 150.0);
            vec![Bucket {
                per_second,
                burst: random
                    .bool()
                    .then(|| (per_second * logarithmic(random, 0.5, 10.0)).max(1.0)),
            }]
        }
        false => Vec::new(),
    };
    let connections = with_cap.then(|| whole(logarithmic(random, 1.0, 90.0)));
    let mut scenario = Scenario {
        name: format!("random {seed}"),
        connections,
        speaks: provider_sim::Speaks::Plain,
        silent_close: kind == 6,
        messages_per_connection: (random.u32(0..4) == 0).then(|| random.u32(2..50)),
        rates: rates.clone(),
        rate_at: provider_sim::RateAt::Mail,
        penalty_box: (kind == 4).then(|| PenaltyBox {
            seconds: logarithmic(random, 5.0, 120.0),
            extends: random.bool(),
        }),
        reputation: None,
        greylist: None,
        bad_backends: (random.u32(0..4) == 0 && with_cap).then(|| BadBackends {
            share: 0.05 + 0.45 * random.f64(),
            answer: if random.bool() {
                BadAnswer::Refused
            } else {
                BadAnswer::TooManyConnections
            },
        }),
        tarpit: None,
        latency_knee: (kind == 7).then(|| random.u32(2..40)),
        service: Service {
            mean_ms: logarithmic(random, 50.0, 2000.0),
            distribution: [
                Distribution::Lognormal,
                Distribution::Exponential,
                Distribution::Constant,
            ][random.usize(0..3)],
            spread: 0.2 + 0.8 * random.f64(),
        },
        connect_ms: logarithmic(random, 20.0, 400.0),
        steps: Vec::new(),
        repeat_seconds: None,
    };
    if random.u32(0..3) == 0 && scenario.penalty_box.is_none() {
        scenario.steps = steps(random, connections, &rates);
    }
    scenario
}

/// Down after forty minutes, up again after eighty.
fn steps(random: &mut fastrand::Rng, connections: Option<u32>, rates: &[Bucket]) -> Vec<Step> {
    let factor = logarithmic(random, 0.2, 0.7);
    let less = |bucket: &Bucket| Bucket {
        per_second: bucket.per_second * factor,
        burst: bucket.burst,
    };
    let step = |at_seconds, connections, rates: Vec<Bucket>| Step {
        at_seconds,
        connections,
        rates: Some(rates),
        service_mean_ms: None,
        bad_share: None,
        latency_knee: None,
    };
    let fewer = connections.map(|count| whole(f64::from(count) * factor));
    vec![
        step(2400.0, fewer, rates.iter().map(less).collect()),
        step(4800.0, connections, rates.to_vec()),
    ]
}

fn logarithmic(random: &mut fastrand::Rng, least: f64, most: f64) -> f64 {
    least * (most / least).powf(random.f64())
}

fn whole(value: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    let whole = value.round().max(1.0) as u32;
    whole
}
