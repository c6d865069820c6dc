//! A thread for other people's machines: receivers and name servers run there, so that a measurement does not wait for them.

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

/// A runtime of its own with one thread. Dropped, it ends without waiting for what runs there: a tarpit holds on to
/// connections, and a runtime that waits may not be dropped where a measurement failed.
#[derive(Debug)]
pub(crate) struct Aside(Option<Runtime>);

impl Aside {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs this there and waits for what it gives.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let runtime = self.0.as_ref().expect("it is taken only when dropped");
        runtime.spawn(future).await?
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_there_comes_back_and_it_may_end_anywhere() {
        let aside = Aside::start().unwrap();
        assert_eq!(aside.run(async { Ok(7) }).await.unwrap(), 7);
        let failed = aside.run::<()>(async { anyhow::bail!("no") }).await;
        assert_eq!(failed.unwrap_err().to_string(), "no");
        drop(aside);
    }
}
