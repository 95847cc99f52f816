//! Producer ids that this broker may give out: they come in blocks from the controller.

use std::sync::Arc;

use base::{ErrorCode, ProducerId};
use control::controller_client::ControllerClient;
use metadata::{AllocateProducerIdsRequest, ProducerIdBlock};
use storage::Storage;
use tokio::sync::Mutex;

pub struct ProducerIds {
    storage: Arc<Storage>,
    controller: ControllerClient,
    /// The next id and the end of the block. Held across the request for a new block, so that one
    /// caller asks and the others wait.
    left: Mutex<(ProducerId, ProducerId)>,
}

impl ProducerIds {
    pub fn new(storage: Arc<Storage>, controller: ControllerClient) -> ProducerIds {
        ProducerIds { storage, controller, left: Mutex::default() }
    }

    /// A producer id that nobody else ever gets.
    pub async fn next(&self) -> Result<ProducerId, ErrorCode> {
        let mut left = self.left.lock().await;
        if left.0 >= left.1 {
            let block = self.allocate().await?;
            *left = (block.first, block.first + ProducerId::from(block.len));
        }
        left.0 += 1;
        Ok(left.0 - 1)
    }

    async fn allocate(&self) -> Result<ProducerIdBlock, ErrorCode> {
        let (image, broker_id) = (self.storage.image(), self.storage.id);
        let broker_epoch = image.broker(broker_id).map_or(-1, |broker| broker.epoch);
        let request = AllocateProducerIdsRequest { broker_id, broker_epoch };
        match self.controller.call(request).await {
            Ok(block) if block.len > 0 => Ok(block),
            Ok(block) => {
                tracing::error!(?block, "the controller allocated no producer ids");
                Err(ErrorCode::UnknownServerError)
            }
            Err(error) => {
                tracing::warn!(%error, "allocate producer ids");
                // Retriable for every client, whatever kept the controller from answering.
                Err(ErrorCode::CoordinatorLoadInProgress)
            }
        }
    }
}
