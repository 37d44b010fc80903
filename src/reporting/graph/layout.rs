//! Where each node of a view stands: a column for each layer (what comes first stands left), a lane for each host. Lines that
//! pass a column get a narrow slot in it, so they run between boxes and not under them.

use std::collections::BTreeMap;

use super::GraphView;
use super::reduce::topological;

pub const ROW: f64 = 26.0;
pub const BOX: f64 = 20.0;
const SLOT: f64 = 7.0;
const GAP: f64 = 54.0;
const MARGIN: f64 = 16.0;
const LANE_HEAD: f64 = 24.0;
const LANE_FOOT: f64 = 10.0;
pub const TITLE: f64 = 40.0;
/// Width of a character of the labels' font, 11 px monospace.
const CHAR: f64 = 6.7;
const SWEEPS: usize = 6;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Place {
    /// Left end.
    pub x: f64,
    /// Middle.
    pub y: f64,
    pub width: f64,
}

#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Of the nodes of the view.
    pub places: Vec<Place>,
    /// Points of each line, from left to right.
    pub lines: Vec<Vec<(f64, f64)>>,
    /// Name, top and height.
    pub lanes: Vec<(String, f64, f64)>,
    pub width: f64,
    pub height: f64,
}

/// A node of the view, or the slot of lines from one source through one column and lane.
#[derive(Debug, Clone)]
struct Item {
    layer: usize,
    lane: usize,
    height: f64,
    width: f64,
    y: f64,
}

pub fn layout(view: &GraphView) -> Layout {
    let names: Vec<&str> = view.lanes().into_keys().collect();
    let lane_of: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let layers = layers(view);
    let mut items: Vec<Item> = view
        .nodes
        .iter()
        .zip(&layers)
        .map(|(n, layer)| Item {
            layer: *layer,
            lane: lane_of[n.lane.as_str()],
            height: if n.joint { SLOT * 1.5 } else { ROW },
            width: if n.joint { 6.0 } else { n.label.chars().count() as f64 * CHAR + 14.0 },
            y: 0.0,
        })
        .collect();
    let (links, paths) = route(view, &mut items);
    let columns = items.iter().map(|i| i.layer + 1).max().unwrap_or(0);
    let mut cells: Vec<Vec<Vec<usize>>> = vec![vec![Vec::new(); columns]; names.len()];
    for (i, item) in items.iter().enumerate() {
        cells[item.lane][item.layer].push(i);
    }
    let tops = stack(&mut items, &mut cells, &links);
    let mut widths = vec![0.0f64; columns];
    for item in &items {
        widths[item.layer] = widths[item.layer].max(item.width);
    }
    let mut left = Vec::with_capacity(columns);
    let mut x = MARGIN;
    for width in &widths {
        left.push(x);
        x += width + GAP;
    }
    let places: Vec<Place> =
        items.iter().take(view.nodes.len()).map(|i| Place { x: left[i.layer], y: i.y, width: i.width }).collect();
    let lines = paths
        .iter()
        .map(|path| {
            let mut points = Vec::new();
            for (at, i) in path.iter().enumerate() {
                let (item, left, width) = (&items[*i], left[items[*i].layer], widths[items[*i].layer]);
                let slot = *i >= view.nodes.len();
                if at > 0 {
                    points.push((left, item.y));
                }
                // From a narrow box straight on to the end of its column, so that no wider box is crossed.
                if at == 0 {
                    points.push((left + item.width, item.y));
                }
                if slot || at == 0 {
                    points.push((left + width, item.y));
                }
            }
            points
        })
        .collect();
    let lanes: Vec<(String, f64, f64)> =
        names.iter().zip(&tops).map(|(n, (top, height))| ((*n).to_owned(), *top, *height)).collect();
    let height = lanes.last().map_or(TITLE, |(_, top, height)| top + height) + MARGIN;
    Layout { places, lines, lanes, width: (x - GAP + MARGIN).max(420.0), height }
}

/// Longest way from the left; in a cycle (which a plan never has) the order of the nodes decides.
fn layers(view: &GraphView) -> Vec<usize> {
    let n = view.nodes.len();
    let order = topological(n, &view.edges).unwrap_or_else(|| (0..n).collect());
    let mut place = vec![0; n];
    order.iter().enumerate().for_each(|(i, node)| place[*node] = i);
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); n];
    for (a, b) in view.edges.iter().filter(|(a, b)| place[*a] < place[*b]) {
        behind[*a].push(*b);
    }
    let mut layer = vec![0; n];
    for node in order {
        for b in &behind[node] {
            layer[*b] = layer[*b].max(layer[node] + 1);
        }
    }
    layer
}

type Links = Vec<(usize, usize)>;

/// Gives long lines their slots. Lines of one source share them as far as they run together.
fn route(view: &GraphView, items: &mut Vec<Item>) -> (Links, Vec<Vec<usize>>) {
    let mut slots: BTreeMap<(usize, usize, usize), usize> = BTreeMap::new();
    let mut links = Vec::new();
    let mut paths = Vec::with_capacity(view.edges.len());
    for (a, b) in &view.edges {
        let mut path = vec![*a];
        let (from, to, lane) = (items[*a].layer, items[*b].layer, items[*b].lane);
        for layer in from + 1..to {
            let slot = *slots.entry((*a, layer, lane)).or_insert_with(|| {
                items.push(Item { layer, lane, height: SLOT, width: 0.0, y: 0.0 });
                items.len() - 1
            });
            path.push(slot);
        }
        path.push(*b);
        links.extend(path.windows(2).map(|w| (w[0], w[1])));
        paths.push(path);
    }
    links.sort_unstable();
    links.dedup();
    (links, paths)
}

/// Orders each cell so that lines cross little, and gives every item its height. Returns top and height of each lane.
fn stack(items: &mut [Item], cells: &mut [Vec<Vec<usize>>], links: &Links) -> Vec<(f64, f64)> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    for (a, b) in links {
        behind[*a].push(*b);
        before[*b].push(*a);
    }
    let tall = |items: &[Item], cell: &[usize]| cell.iter().map(|i| items[*i].height).sum::<f64>();
    let mut tops = Vec::with_capacity(cells.len());
    let mut top = TITLE;
    for lane in cells.iter() {
        let height = lane.iter().map(|cell| tall(items, cell)).fold(ROW, f64::max) + LANE_HEAD + LANE_FOOT;
        tops.push((top, height));
        top += height + 6.0;
    }
    let put = |items: &mut [Item], cell: &[usize], (top, height): (f64, f64)| {
        let inner = height - LANE_HEAD - LANE_FOOT;
        let mut y = top + LANE_HEAD + (inner - tall(items, cell)) / 2.0;
        for i in cell {
            items[*i].y = y + items[*i].height / 2.0;
            y += items[*i].height;
        }
    };
    for (lane, place) in cells.iter().zip(&tops) {
        lane.iter().for_each(|cell| put(items, cell, *place));
    }
    for sweep in 0..SWEEPS {
        let (near, columns): (_, Vec<usize>) = match cells.first().map_or(0, Vec::len) {
            n if sweep % 2 == 0 => (&before, (0..n).collect()),
            n => (&behind, (0..n).rev().collect()),
        };
        for column in columns {
            for (lane, place) in cells.iter_mut().zip(&tops) {
                let cell = &mut lane[column];
                let mut keyed: Vec<(f64, usize)> = cell
                    .iter()
                    .map(|i| {
                        let near = &near[*i];
                        let sum: f64 = near.iter().map(|n| items[*n].y).sum();
                        (if near.is_empty() { items[*i].y } else { sum / near.len() as f64 }, *i)
                    })
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                *cell = keyed.into_iter().map(|(_, i)| i).collect();
                put(items, cell, *place);
            }
        }
    }
    tops
}
