//! One kept HTTP/1.1 connection to the API: hyper without a pool, so that the injector costs as little as it can.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(crate) struct Call {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
}

impl Call {
    pub(crate) async fn connect(address: SocketAddr, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; an error of it is one of the sender too.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: address.to_string(),
            authorization: format!("Bearer {key}"),
        })
    }

    /// Sends JSON; gives the status and the body.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        self.request(Method::POST, path, body, None).await
    }

    /// Sends JSON under an `Idempotency-Key`; gives the status and the body.
    pub(crate) async fn post_under(&mut self, key: &str, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        self.request(Method::POST, path, body, Some(key)).await
    }

    /// Fetches text.
    pub(crate) async fn get(&mut self, path: &str) -> Result<String> {
        let (status, body) = self.look(path).await?;
        if !status.is_success() {
            bail!("{path}: {status}");
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Fetches whatever there is; gives the status and the body.
    pub(crate) async fn look(&mut self, path: &str) -> Result<(StatusCode, Bytes)> {
        self.request(Method::GET, path, Bytes::new(), None).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder();
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }
}
