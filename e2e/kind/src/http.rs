//! HTTP to a port of a pod, through the API server: that works from wherever `kubectl` works.

use anyhow::{Context, Result};
use kube::Client;
use kube::api::PostParams;
use kube::core::Request;

pub(crate) struct Target<'a> {
    pub client: &'a Client,
    pub namespace: &'a str,
    pub pod: &'a str,
    pub port: u16,
}

impl Target<'_> {
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let request = self.pods().get_subresource(&format!("proxy/{path}"), &self.name())?;
        self.client.request_text(request).await.with_context(|| self.place(path))
    }

    pub(crate) async fn post(&self, path: &str) -> Result<String> {
        let (path, nothing) = (format!("proxy/{path}"), PostParams::default());
        let request = self.pods().create_subresource(&path, &self.name(), &nothing, Vec::new())?;
        self.client.request_text(request).await.with_context(|| self.place(&path))
    }

    fn pods(&self) -> Request {
        Request::new(format!("/api/v1/namespaces/{}/pods", self.namespace))
    }

    fn name(&self) -> String {
        format!("{}:{}", self.pod, self.port)
    }

    fn place(&self, path: &str) -> String {
        format!("{}/{}/{path}", self.namespace, self.name())
    }
}
