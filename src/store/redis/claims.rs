//! The nodes' part of the queue seam: who is there, and who sends from which Source.

use async_trait::async_trait;

use super::functions::{BOARD, CLAIM, LEAVE};
use super::handle::{Parts, Redis, number};
use super::link::Arguments;
use crate::domain::{Board, Fence, Node, NodeId, Presence, SourceClaim, SourceId, Timestamp};
use crate::queue::{Claim, Claims, QueueError};

#[async_trait]
impl Claims for Redis {
    async fn claim(&self, claim: Claim) -> Result<Board, QueueError> {
        let mut arguments = Arguments::new();
        arguments.text(&claim.node.id).text(claim.node.run);
        arguments.text(claim.now.0).text(claim.until.0);
        for sources in [&claim.wants, &claim.claim, &claim.release] {
            arguments.text(sources.len());
            for source in sources {
                arguments.text(source);
            }
        }
        board(self.call_common(CLAIM, &arguments).await?)
    }

    async fn leave(&self, node: &Node) -> Result<(), QueueError> {
        let mut arguments = Arguments::new();
        arguments.text(&node.id).text(node.run);
        self.call_common(LEAVE, &arguments).await.map(drop)
    }

    async fn board(&self, now: Timestamp) -> Result<Board, QueueError> {
        let mut arguments = Arguments::new();
        arguments.text(now.0);
        board(self.call_common(BOARD, &arguments).await?)
    }
}

/// The board in a flat list, as `claims.lua` says.
fn board(parts: Parts) -> Result<Board, QueueError> {
    let mut reader = Reader(parts.into_iter());
    let mut board = Board::default();
    for _ in 0..reader.number()? {
        let node = Node {
            id: NodeId::from(reader.text()?.as_str()),
            run: reader.number()?,
        };
        let until = Timestamp(reader.number()?);
        let wants = (0..reader.number()?).map(|_| Ok(SourceId::from(reader.text()?.as_str())));
        let wants = wants.collect::<Result<_, QueueError>>()?;
        board.nodes.push(Presence { node, wants, until });
    }
    while reader.0.len() > 0 {
        board.claims.push(SourceClaim {
            source: SourceId::from(reader.text()?.as_str()),
            node: NodeId::from(reader.text()?.as_str()),
            fence: Fence(reader.number()?),
            until: Timestamp(reader.number()?),
        });
    }
    Ok(board)
}

struct Reader(std::vec::IntoIter<Option<Vec<u8>>>);

impl Reader {
    fn next(&mut self) -> Result<Vec<u8>, QueueError> {
        self.0.next().flatten().ok_or_else(damaged)
    }

    fn text(&mut self) -> Result<String, QueueError> {
        String::from_utf8(self.next()?).map_err(|_| damaged())
    }

    fn number(&mut self) -> Result<u64, QueueError> {
        number(Some(&self.next()?)).ok_or_else(damaged)
    }
}

fn damaged() -> QueueError {
    QueueError::Damaged("the board of nodes".to_owned())
}
