//! What operators see: names, dashboards, alerts and log lines, and a real Prometheus that reads them from a running
//! engine. Needs `tests/tools/setup.sh` to have run.

mod bed;
mod logs;
mod names;
mod promql;
mod scrape;
