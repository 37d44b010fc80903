use super::super::schema::KindDef;
use super::*;

const STYLE: &str = "\
:root{color-scheme:light dark;--fg:#1c1e21;--bg:#fdfdfc;--soft:#f1f2f0;--line:#d9dbd6;--mark:#0a5c8a}\
@media(prefers-color-scheme:dark){:root{--fg:#dfe1dc;--bg:#17191b;--soft:#212427;--line:#383c40;--mark:#7cc4ee}}\
*{box-sizing:border-box}body{margin:0;color:var(--fg);background:var(--bg);font:16px/1.5 system-ui,sans-serif;display:grid;grid-template-columns:17rem minmax(0,1fr)}\
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;border-right:1px solid var(--line);font-size:.9rem}\
nav ul{list-style:none;margin:.2rem 0 1rem;padding:0}nav strong{font-size:.8rem}main{padding:1rem 2rem 4rem;max-width:70rem}\
a{color:var(--mark);text-decoration:none}a:hover{text-decoration:underline}section{border-top:1px solid var(--line);padding-top:1rem;margin-top:2rem}\
:target{outline:2px solid var(--mark);outline-offset:4px}code,pre{font-family:ui-monospace,monospace;font-size:.9em;background:var(--soft)}\
code{padding:0 .2em}pre{padding:.8rem;overflow:auto;border:1px solid var(--line)}pre code{padding:0}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line)}\
@media(max-width:50rem){body{display:block}nav{position:static;height:auto;border:0}main{padding:1rem}}";

pub fn page() -> String {
    let mut nav = String::new();
    let mut main = String::new();
    for (area, kinds) in areas() {
        nav += &format!("<strong>{}</strong><ul>", escaped(&title(area)));
        main += &format!("<h2>{}</h2>\n", escaped(&title(area)));
        for k in kinds {
            nav += &format!("<li><a href=\"#{0}\">{0}</a></li>", escaped(&k.name));
            main += &kind(k);
        }
        nav += "</ul>\n";
    }
    let mut types = String::from(
        "<section id=\"types\"><h2>Types</h2><div class=\"wide\"><table><tr><th>type</th><th>what it is</th><th>written</th></tr>\n",
    );
    for (name, what, written) in WRITTEN {
        types += &format!("<tr><td>{name}</td><td>{}</td><td>{}</td></tr>\n", inline(what), inline(written));
    }
    types += "</table></div></section>\n";
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>The cutover language</title><style>{STYLE}</style></head>\n<body><nav aria-label=\"Kinds\">{nav}<a href=\"#types\">Types</a></nav>\n\
         <main><h1>The cutover language</h1><p>Made from the schema by <code>cutover docs --format html</code> of cutover {}.</p>\n{main}{types}</main></body></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn kind(k: &KindDef) -> String {
    let id = escaped(&k.name);
    let mut out = format!(
        "<section id=\"{id}\"><h3><a href=\"#{id}\">{id}</a></h3>\n<p>{}.</p>\n",
        inline(k.doc.trim_end_matches('.'))
    );
    out += &format!("<p><code>{}</code>, {}.", escaped(&head(k)), inline(&stands(k)));
    for n in notes(k) {
        out += &format!(" {}", inline(&n));
    }
    out += "</p>\n";
    if !k.fields.is_empty() {
        out += "<div class=\"wide\"><table><tr><th>field</th><th>takes</th><th>default</th><th>meaning</th></tr>\n";
        for f in &k.fields {
            out += &format!(
                "<tr id=\"{id}.{0}\"><td><a href=\"#{id}.{0}\"><code>{0}</code></a></td><td>{1}</td><td>{2}</td><td>{3}</td></tr>\n",
                escaped(&f.name),
                inline(&takes(f)),
                escaped(&default(f)),
                inline(&meaning(k, f))
            );
        }
        out += "</table></div>\n";
    }
    if !k.children.is_empty() {
        let links: Vec<String> = k.children.iter().map(|c| format!("<a href=\"#{0}\">{0}</a>", escaped(c))).collect();
        out += &format!("<p>Children: {}.</p>\n", links.join(", "));
    }
    if let Some(example) = example::of(k) {
        out += &format!("<pre><code>{}</code></pre>\n", escaped(example));
    }
    out + "</section>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Backticks become code; the name of a kind in them becomes a link.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        let safe = escaped(part);
        if i % 2 == 0 {
            out += &safe;
        } else if schema().is_kind(part) {
            out += &format!("<a href=\"#{safe}\"><code>{safe}</code></a>");
        } else {
            out += &format!("<code>{safe}</code>");
        }
    }
    out
}
