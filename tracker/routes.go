package tracker

import "github.com/valyala/fasthttp"

// Paths of the tracker. Those of peers are where their clients send, so that a site moves here without a change to its pages.
const (
	EventPath   = "/api/event" // Plausible's too
	ScriptPath  = "/d.js"
	HealthPath  = "/healthz"
	MetricsPath = "/metrics"

	UmamiSendPath       = "/api/send"
	UmamiBatchPath      = "/api/batch"
	GoatCounterPath     = "/count"
	GoatCounterBulkPath = "/api/v0/count"
	MatomoPath          = "/matomo.php"
	PiwikPath           = "/piwik.php" // Matomo's name of old
)

// route says what a path answers. A method without a handler is refused.
type route struct {
	any       fasthttp.RequestHandler // instead of the others
	get, post fasthttp.RequestHandler
	head      bool                    // HEAD is answered like GET: nothing is counted by it
	origin    fasthttp.RequestHandler // says which pages may send by script; nil: none
	headers   string                  // that scripts may send
	allow     string                  // what the Allow header says
}

// routing is the table of all paths.
func (t *Tracker) routing() map[string]route {
	const plain = "content-type"
	return map[string]route{
		EventPath:   {post: t.serveEvent, origin: allowAnyOrigin, headers: plain, allow: "POST, OPTIONS"},
		ScriptPath:  {get: serveScript, head: true, post: t.serveEvent, origin: allowAnyOrigin, headers: plain, allow: "GET, HEAD, POST, OPTIONS"},
		HealthPath:  {any: t.serveHealth},
		MetricsPath: {any: t.serveMetrics},
		PixelPath:   {any: t.servePixel},

		UmamiSendPath:       {post: t.serveUmami, origin: allowOrigin, headers: umamiHeaders, allow: "POST, OPTIONS"},
		UmamiBatchPath:      {post: t.serveUmamiBatch, origin: allowOrigin, headers: umamiHeaders, allow: "POST, OPTIONS"},
		GoatCounterPath:     {get: t.serveGoatCounter, post: t.serveGoatCounter, origin: allowAnyOrigin, headers: plain, allow: "GET, POST, OPTIONS"},
		GoatCounterBulkPath: {post: t.serveGoatCounterBulk, allow: "POST, OPTIONS"},
		MatomoPath:          {get: t.serveMatomo, post: t.serveMatomo, origin: allowOrigin, headers: plain, allow: "GET, POST, OPTIONS"},
		PiwikPath:           {get: t.serveMatomo, post: t.serveMatomo, origin: allowOrigin, headers: plain, allow: "GET, POST, OPTIONS"},
	}
}

// Serve answers a request if its path is one of the tracker's, and returns false if not. Nothing of ctx is
// kept after it returns.
func (t *Tracker) Serve(ctx *fasthttp.RequestCtx) bool {
	r, ok := t.routes[string(ctx.Path())]
	if ok {
		r.serve(ctx)
	}
	return ok
}

func (r *route) serve(ctx *fasthttp.RequestCtx) {
	handler := r.any
	switch {
	case handler != nil:
	case ctx.IsPost():
		handler = r.post
	case ctx.IsGet(), ctx.IsHead() && r.head:
		handler = r.get
	case ctx.IsOptions():
		r.preflight(ctx)
		return
	}
	if handler == nil {
		ctx.Response.Header.Set("Allow", r.allow)
		answerError(ctx, fasthttp.StatusMethodNotAllowed, "want one of "+r.allow)
		return
	}
	if r.origin != nil && (ctx.IsPost() || !r.head) { // the script is asked for by a tag, which needs no permission
		r.origin(ctx)
	}
	handler(ctx)
}

// preflight answers the question whether a page's script may send: always, where pages send at all.
func (r *route) preflight(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Allow", r.allow)
	if r.origin != nil {
		r.origin(ctx)
		ctx.Response.Header.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		ctx.Response.Header.Set("Access-Control-Allow-Headers", r.headers)
		ctx.Response.Header.Set("Access-Control-Max-Age", "86400")
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// allowAnyOrigin: pages of every site may send, and nothing in an answer is worth hiding from them. There is no
// cookie here that a browser could add.
func allowAnyOrigin(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Access-Control-Allow-Origin", "*")
}

// allowOrigin is for clients that may send with credentials: browsers then refuse an answer that does not name the page's own
// origin. Cookies that come along are not read, and the answer is the same with and without them.
func allowOrigin(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("Vary", "Origin")
	origin := ctx.Request.Header.Peek("Origin")
	if len(origin) == 0 {
		allowAnyOrigin(ctx)
		return
	}
	h.SetBytesV("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
}
