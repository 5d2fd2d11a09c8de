//! A network ready to answer: built, fused and bound to a device.

use crate::exec::{ParameterStore, Session, SessionOptions};
use crate::graph::{TensorId, fuse};
use crate::models::{Config, Input, Mode, Network};
use crate::{Error, exec};

/// A fused inference network on a device, for a fixed number of pictures of a fixed size.
pub struct Inference {
    session: Session,
    input: TensorId,
    logits: TensorId,
}

impl Inference {
    /// Builds the network over the store's parameters; those that the store does not hold yet are allocated, zero.
    ///
    /// # Errors
    /// If the network cannot be built for that size or does not fit the device.
    pub fn new(
        store: &mut ParameterStore,
        config: &Config,
        batch: usize,
        size: [usize; 2],
        input: Input,
        options: &SessionOptions<'_>,
    ) -> Result<Self, Error> {
        let mut network = Network::build(config, batch, size, input, Mode::Inference)?;
        fuse::for_inference(&mut network.graph, &[network.logits])?;
        store.allocate(&network.graph)?;
        let session = Session::new(store, network.graph, &[network.logits], options)?;
        Ok(Self { session, input: network.input, logits: network.logits })
    }

    /// Folds the current parameters. To be called after they are loaded, and again whenever they have changed.
    pub fn prepare(&mut self) -> Result<(), Error> {
        Ok(self.session.prepare()?)
    }

    /// Logits `[N, classes]` of packed pixels `[N, H, W]`.
    pub fn logits_of_pixels(&mut self, pixels: &[u32]) -> Result<Vec<f32>, Error> {
        self.session.feed(&[], &[(self.input, pixels)])?;
        self.answer().map_err(Error::from)
    }

    /// Logits `[N, classes]` of standardised pictures `[N, H, W, 3]`.
    pub fn logits_of_tensor(&mut self, pictures: &[f32]) -> Result<Vec<f32>, Error> {
        self.session.feed(&[(self.input, pictures)], &[])?;
        self.answer().map_err(Error::from)
    }

    fn answer(&mut self) -> Result<Vec<f32>, exec::Error> {
        self.session.run()?;
        self.session.read(self.logits)
    }

    /// The session underneath, for its plan and its times.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}
