//! The XML files in which VOC notes the objects of a picture.

use roxmltree::{Document, Node, ParsingOptions};

/// The most nodes of a file. VOC's largest has less than a thousand; a node takes more memory than its text.
const MOST_NODES: u32 = 200_000;

/// What a file says of a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Annotation {
    /// Width and height of the picture in pixels, if the file tells them.
    pub(super) size: Option<[u32; 2]>,
    /// The objects, in the file's order.
    pub(super) objects: Vec<Noted>,
}

/// An object as noted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Noted {
    /// The name of its class.
    pub(super) class: String,
    /// Left, top, right and bottom in pixels, half-open.
    pub(super) bounds: [f32; 4],
    pub(super) difficult: bool,
}

/// Reads a file from its text. An error names the line, or the object by its place in the file and its class.
pub(super) fn parse(file: &str) -> Result<Annotation, String> {
    let options = ParsingOptions { nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(file, options).map_err(|error| format!("is no sound XML: {error}"))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        return Err(format!("starts with <{}>; VOC's files start with <annotation>", root.tag_name().name()));
    }
    // Some tools write 0 where they do not know the size, and some write decimals.
    let side = |name: &str| match child(root, "size").and_then(|size| text(size, name)) {
        None | Some("") => Ok(None),
        Some(value) => match value.parse::<f64>() {
            Ok(side) if side.fract() == 0.0 && (0.0..1e9).contains(&side) => {
                Ok(Some(side as u32).filter(|&side| side > 0))
            }
            _ => Err(format!("<{name}> of its <size> is {value:?}, which is no number of pixels")),
        },
    };
    let size = side("width")?.zip(side("height")?).map(|(width, height)| [width, height]);
    // Parts of an object, such as heads, are `part` elements within it and have boxes of their own.
    let objects = root.children().filter(|node| node.has_tag_name("object"));
    let objects = (1..).zip(objects).map(|(number, node)| object(node).map_err(|why| format!("object {number}{why}")));
    Ok(Annotation { size, objects: objects.collect::<Result<_, _>>()? })
}

fn object(node: Node) -> Result<Noted, String> {
    let class = text(node, "name").filter(|name| !name.is_empty()).ok_or(": no <name>, its class")?;
    let named = |problem: String| format!(" ({class}): {problem}");
    let difficult = match text(node, "difficult") {
        None | Some("0" | "") => false,
        Some("1") => true,
        Some(other) => return Err(named(format!("<difficult> is {other:?}; it should be 0 or 1"))),
    };
    let bounds = child(node, "bndbox").ok_or_else(|| named("no <bndbox>".to_owned()))?;
    let side = |name: &str| {
        let value = text(bounds, name).ok_or_else(|| named(format!("no <{name}> in its <bndbox>")))?;
        let number = value.parse().ok().filter(|number: &f32| number.is_finite());
        number.ok_or_else(|| named(format!("<{name}> is {value:?}, which is no number")))
    };
    let [left, top, right, bottom] = [side("xmin")?, side("ymin")?, side("xmax")?, side("ymax")?];
    for (axis, least, most) in [("x", left, right), ("y", top, bottom)] {
        if most < least {
            return Err(named(format!("its {axis}max {most} is less than its {axis}min {least}: swap them")));
        }
    }
    // VOC counts pixels from 1 and includes the last one.
    let bounds = [left - 1.0, top - 1.0, right, bottom];
    Ok(Noted { class: class.to_owned(), bounds, difficult })
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).map(|child| child.text().unwrap_or_default().trim())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with_objects(objects: &str) -> String {
        format!(
            "<annotation><folder>VOC</folder><size><width>50</width><height>40</height></size>{objects}</annotation>"
        )
    }

    fn boxed(name: &str, [xmin, ymin, xmax, ymax]: [&str; 4]) -> String {
        let bounds = format!("<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>");
        format!("<object><name>{name}</name><bndbox>{bounds}</bndbox></object>")
    }

    #[test]
    fn sizes_are_whole_numbers_or_unknown() {
        let size = |width: &str| {
            let text = with_objects("").replace("<width>50</width>", width);
            parse(&text).map(|read| read.size)
        };
        assert_eq!(size("<width>50.0</width>"), Ok(Some([50, 40])));
        assert_eq!([size("<width>0</width>"), size("")], [Ok(None), Ok(None)]);
        for wrong in ["50.5", "-50", "fifty"] {
            let problem = size(&format!("<width>{wrong}</width>")).unwrap_err();
            assert_eq!(problem, format!("<width> of its <size> is {wrong:?}, which is no number of pixels"));
        }
    }

    #[test]
    fn boxes_count_from_one_and_include_their_last_pixel() {
        let objects = boxed("dog", ["1", "2", "1", "40"]) + &boxed(" cat ", [" 10.5 ", "1", "49.25", "3"]);
        let read = parse(&with_objects(&objects)).unwrap();
        assert_eq!(read.size, Some([50, 40]));
        let found: Vec<(&str, [f32; 4])> = read.objects.iter().map(|o| (&*o.class, o.bounds)).collect();
        assert_eq!(found, [("dog", [0.0, 1.0, 1.0, 40.0]), ("cat", [9.5, 0.0, 49.25, 3.0])]);
    }

    #[test]
    fn parts_of_an_object_are_no_objects_and_their_boxes_are_not_its_own() {
        let part = "<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>\
                    </part>";
        let person = boxed("person", ["2", "2", "9", "9"]).replace("<bndbox>", &format!("{part}<bndbox>"));
        let read = parse(&with_objects(&person)).unwrap();
        assert_eq!(read.objects.len(), 1);
        assert_eq!((&*read.objects[0].class, read.objects[0].bounds), ("person", [1.0, 1.0, 9.0, 9.0]));
    }

    #[test]
    fn what_is_hard_to_see_is_difficult() {
        for (noted, difficult) in
            [("", false), ("<difficult>0</difficult>", false), ("<difficult> 1 </difficult>", true)]
        {
            let dog = boxed("dog", ["1", "1", "2", "2"]).replace("<bndbox>", &format!("{noted}<bndbox>"));
            assert_eq!(parse(&with_objects(&dog)).unwrap().objects[0].difficult, difficult, "{noted}");
        }
    }

    #[test]
    fn a_picture_may_have_no_objects_and_no_size() {
        let of = |size: &str| parse(&format!("<annotation>{size}</annotation>")).unwrap();
        assert_eq!(of(""), Annotation::default());
        assert_eq!(of("<size><width>0</width><height>0</height></size>").size, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let dog = |sides: [&str; 4]| boxed("cat", ["1", "1", "2", "2"]) + &boxed("dog", sides);
        let sound = dog(["1", "1", "2", "2"]);
        for (objects, problem) in [
            (dog(["5", "1", "4", "2"]), "object 2 (dog): its xmax 4 is less than its xmin 5: swap them"),
            (dog(["1", "7.5", "4", "2"]), "object 2 (dog): its ymax 2 is less than its ymin 7.5: swap them"),
            (dog(["1", "1", "far", "2"]), r#"object 2 (dog): <xmax> is "far", which is no number"#),
            (dog(["nan", "1", "4", "2"]), r#"object 2 (dog): <xmin> is "nan", which is no number"#),
            (dog(["1", "1", "2", ""]), r#"object 2 (dog): <ymax> is "", which is no number"#),
            (sound.replace("<ymin>1</ymin>", ""), "object 1 (cat): no <ymin> in its <bndbox>"),
            (sound.replace("bndbox", "box"), "object 1 (cat): no <bndbox>"),
            (sound.replace("cat", " "), "object 1: no <name>, its class"),
            (
                sound.replace("<bndbox>", "<difficult>maybe</difficult><bndbox>"),
                r#"object 1 (cat): <difficult> is "maybe"; it should be 0 or 1"#,
            ),
        ] {
            assert_eq!(parse(&with_objects(&objects)).unwrap_err(), problem);
        }
        let unclosed = parse("<annotation>\n<object>\n</annotation>").unwrap_err();
        assert!(unclosed.starts_with("is no sound XML: ") && unclosed.contains("3:1"), "{unclosed}");
        assert_eq!(parse("<html/>").unwrap_err(), "starts with <html>; VOC's files start with <annotation>");
        let many = parse(&format!("<annotation>{}</annotation>", "<a/>".repeat(MOST_NODES as usize))).unwrap_err();
        assert!(many.contains("nodes limit"), "{many}");
    }
}
