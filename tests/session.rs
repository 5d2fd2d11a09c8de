//! Feeding and reading a session by name and by type.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
#[allow(dead_code)]
mod adapters;

use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::graph::op::SoftmaxCrossEntropy;
use resnet_rs::graph::{DType, Elements, Graph, Spec};

#[test]
fn inputs_are_fed_by_name_and_outputs_read_by_type() {
    let mut graph = Graph::new();
    let logits = graph.input("logits", Spec::channels([2, 3])).unwrap();
    let labels = graph.input("labels", Spec::plain([2], DType::U32)).unwrap();
    let op = SoftmaxCrossEntropy { label_smoothing: 0.0, mixed: false };
    let loss = graph.apply1("loss", op, &[logits, labels]).unwrap();
    adapters::on_each(|gpu| {
        let store = ParameterStore::new(gpu);
        let mut session = Session::new(&store, graph.clone(), &[loss, labels], &SessionOptions::default()).unwrap();
        let values = [0.0; 6];
        let fed = |labels: &'static [u32]| -> Vec<(&str, Elements<'_>)> {
            vec![("logits", values[..].into()), ("labels", labels.into()), ("of another graph", [1.0][..].into())]
        };
        session.feed_inputs(&fed(&[2, 0])).unwrap();
        session.run().unwrap();
        let read = session.read_later(&[labels, loss]).unwrap().wait_elements().unwrap();
        assert_eq!(read[0], vec![2u32, 0].into());
        assert!(matches!(&read[1], Elements::F32(loss) if (loss[0] - 3f32.ln()).abs() < 1e-6), "{read:?}");

        let refused = |result: Result<_, resnet_rs::exec::Error>| result.err().unwrap().to_string();
        let floats = refused(session.read_later(&[labels]).unwrap().wait().map(drop));
        assert!(floats.contains("labels") && floats.contains("u32, not floats"), "{floats}");
        let missing = refused(session.feed_inputs(&fed(&[2, 0])[..1]));
        assert!(missing.contains("labels") && missing.contains("without values"), "{missing}");
        let short = refused(session.feed_inputs(&fed(&[2])));
        assert!(short.contains("labels"), "{short}");
        let wrong = refused(session.feed_inputs(&[("logits", [0u32; 6][..].into()), ("labels", [0u32; 2][..].into())]));
        assert!(wrong.contains("logits") && wrong.contains("floats"), "{wrong}");
    });
}
