// The script that a site's pages load: <script defer src="https://HOST/d.js" data-domain="example.com"></script>
//
// It sends page views and the events that the page asks for to its own address, so that there is one path
// to allow, to proxy and to name in a content security policy. It writes nothing on the visitor's device and
// reads one thing there: the visitor's own wish not to be counted. Global Privacy Control and Do Not Track
// need no line here, because the browser tells them to the server with every request.
//
// Attributes of the tag:
//   data-domain  the site to count into; without it the server goes by the page's host
//   data-hash    the part behind # is the address of a page (hash routing)
//
// For the page:
//   dachs(name, {props, revenue: {amount, currency}, interactive, url, callback})
//   <button data-dachs-event="Sign up">
//
// Calls before the script has loaded are kept if the page defines
//   window.dachs = window.dachs || function () { (dachs.q = dachs.q || []).push(arguments) }
//
// script.min.js is made from this file by go generate. Each byte of it is loaded on each page of each site,
// so every line here has to be worth its bytes; the comments cost nothing.
{
  const dachs = window.dachs ||= (...call) => (dachs.q ||= []).push(call)

  // A tag that is on the page twice, or runs again when a framework swaps the body, counts once.
  if (!dachs.l) {
    dachs.l = 1

    const { src, dataset } = document.currentScript

    // What stands behind # is none of our business unless it names the page: it can hold a token.
    // (Splitting at undefined splits nowhere.)
    const cut = dataset.hash == null ? "#" : undefined
    const address = () => location.href.split(cut)[0]

    let page = document.referrer // where the visitor is; before the first page view, where they came from
    let referrer
    let seen // what tells the page view that was sent last from another

    // Counting must never disturb the page, so nothing leaves here as an error. The callback always runs, after
    // the answer or the failure, because the page may wait for it to go on.
    const send = async ([n, options]) => {
      const { props: p, revenue: $, interactive: i, url, callback } = options || {}
      let optedOut
      try {
        // Looked at each time, so that an opt-out holds from the moment it is made.
        optedOut = localStorage.dachs == "off"
      } catch {} // storage is blocked: nobody can have opted out in it
      try {
        // A string is sent as text/plain, for which browsers ask no permission first. keepalive lets the request
        // outlive the page as a beacon would, but without cookies.
        await (optedOut || fetch(src, {
          method: "POST",
          keepalive: true,
          credentials: "omit",
          body: JSON.stringify({
            n, p, $, i,
            u: new URL(url || address(), location),
            d: dataset.domain,
            r: referrer,
            h: cut ? undefined : 1,
          }),
        }))
      } catch {}
      callback?.()
    }

    // One rule for loading, moving within a single-page application, background tabs, prerendering and coming
    // back: a page view is sent when the page can be seen and is not the one that was sent last. A change
    // of the query alone is a filter or a sort order, no other page.
    const look = (event) => {
      const here = address().replace(location.search, "")
      if (event.persisted) seen = 0 // brought back by the back button: seen anew
      if (!document.hidden && seen != here) {
        seen = here
        // Within the page's life, the page before is where the visitor came from: if a visit ends meanwhile, the next
        // one must not be booked on the source of the first again.
        referrer = page
        page = address()
        send(["pageview"])

        // Events wait for the first page view: they belong to it, and a page that is prerendered and never seen
        // has none. From here on a call goes out at once, also through a reference to dachs that was taken before.
        ;(dachs.q || []).map(send)
        ;(dachs.q = []).push = send
      }

      const tagged = event.target?.closest?.("[data-dachs-event]")
      if (tagged) send([tagged.dataset.dachsEvent])
    }

    // Capturing sees clicks that the page's own handlers stop, and needs no binding to elements that come later.
    ;["visibilitychange", "pageshow", "popstate", "click"].map((type) => addEventListener(type, look, true))

    // The Navigation API tells of every change of the address, also by routers that never touch history. Its
    // currentEntry tells it from an element with the id "navigation".
    window.navigation?.currentEntry
      ? navigation.addEventListener("currententrychange", look)
      : ["pushState", "replaceState"].map((name) => {
          const original = history[name]
          history[name] = (...state) => {
            original.apply(history, state)
            look({})
          }
        })

    look({})
  }
}
