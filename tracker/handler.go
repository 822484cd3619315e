package tracker

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dachs/script"
	"dachs/storage"

	"github.com/valyala/fasthttp"
)

const (
	// maxDomains bounds the sites that one event may count into.
	maxDomains = 10
	// scriptCache lets browsers keep the script for a while without asking: long enough to spare most requests,
	// short enough that an update arrives within the day.
	scriptCache = "public, max-age=14400, stale-while-revalidate=86400"
	// retryAfter is what a caller that is told to come back should wait, in seconds.
	retryAfter = "1"
)

// request is what one event needs; it is used again for the next.
type request struct {
	payload Payload
	client  Client
	said    said
	draft   Draft
	batch   storage.Batch
	receipt *receipt // nil: nobody asked for one
}

// serveEvent counts one event. Whoever objects is let go before anything else is looked at. A hit that is
// dropped on purpose gets the same answer as one that counts, so that nobody can ask which sites there are, or
// learn how bots are told.
func (t *Tracker) serveEvent(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.objected(ctx, why)
		return
	}
	r := t.request()
	defer t.release(r)
	parser := t.parsers.Get()
	err := decode(parser, ctx.PostBody(), &r.payload)
	t.parsers.Put(parser)
	if err != nil {
		t.noteAll(t.domains(ctx.PostBody()), Malformed)
		t.refuse(ctx, err)
		return
	}
	if r.payload.OptedOut {
		t.noteAll(r.payload.Domain, OptedOut)
		t.accept(ctx, OptedOut)
		return
	}
	r.client = t.client(ctx)
	r.said.secret = bearer(ctx)
	if err := t.speakFor(ctx, r.payload.Domain, &r.client); err != nil {
		t.refuse(ctx, err)
		return
	}
	r.receipt = receiptFor(ctx, &r.payload)
	switch err := t.take(r); {
	case errors.Is(err, errOverloaded):
		t.overloaded(ctx)
	case err != nil:
		t.refuse(ctx, err)
	case r.receipt != nil:
		r.receipt.answer(ctx)
	default:
		accepted(ctx)
	}
}

// errOverloaded says that a hit could not be stored. Nothing of it was counted, unless it was for several sites.
var errOverloaded = errors.New("cannot count at the moment; try again later")

// take judges the payload and the client of a request, and counts them: the one way of every hit, whatever format it had. A
// hit that is dropped on purpose is no error. Others are errOverloaded, and a *FieldError that says what is wrong with the
// hit; counting those two as outcomes is left to the caller's answer.
func (t *Tracker) take(r *request) error {
	reason, err := t.enricher.Draft(&r.payload, &r.client, &r.draft)
	if err != nil || reason != Accepted {
		t.noteAll(r.payload.Domain, reason)
	}
	switch {
	case err != nil:
		return err
	case reason != Accepted:
		t.outcomes[reason].Add(1)
		r.receipt.note("", reason, nil)
	case !t.countAll(r):
		return errOverloaded
	}
	return nil
}

// countAll counts the draft into each site that the payload lists, once, however often and by whatever name it is
// listed. It returns false if one could not be counted; the sites before it have counted then.
func (t *Tracker) countAll(r *request) bool {
	n := 0
	var into [maxDomains]uint32 // IDs of the sites so far; none is 0
	for domain := range strings.SplitSeq(r.payload.Domain, ",") {
		if n == maxDomains {
			break
		}
		site, ok := t.site(domain)
		if ok && slices.Contains(into[:n], site.ID) {
			continue
		}
		into[n] = site.ID
		n++
		reason := UnknownSite
		if ok {
			hit := r.draft.For(&site)
			r.client.Trusted = r.said.secret != "" && t.mayCount(r.said.secret, site)
			if reason = t.judge(&site, &r.client, hit); reason == Accepted {
				var err error
				if reason, err = t.count(site, &r.client, hit, &r.batch); err != nil {
					t.noteRefusal(site, Overloaded)
					return false
				}
			}
			if reason != Accepted {
				t.noteRefusal(site, reason)
			}
			if reason == Accepted {
				t.replaced.add(&hit.Replaced)
				t.noteReplaced(site, &hit.Replaced)
			}
		}
		t.outcomes[reason].Add(1)
		r.receipt.note(domain, reason, r.batch.Rows)
	}
	return true
}

// site finds the site that a tag names, by its domain or an alias.
func (t *Tracker) site(domain string) (storage.Site, bool) {
	if site, ok := t.store.SiteNamed(domain); ok {
		return site, true
	}
	clean, err := storage.CleanDomain(domain)
	if err != nil {
		return storage.Site{}, false
	}
	return t.store.SiteNamed(clean)
}

// request returns an empty request, which release takes back.
func (t *Tracker) request() *request {
	if r, ok := t.requests.Get().(*request); ok {
		return r
	}
	return new(request)
}

// release makes a request ready for the next event; nothing of the visitor stays in it, nor of earlier ones behind
// the rows of the last.
func (t *Tracker) release(r *request) {
	r.payload, r.client, r.said, r.draft, r.receipt = Payload{}, Client{}, said{}, Draft{}, nil
	clear(r.batch.Rows[:cap(r.batch.Rows)])
	r.batch.Rows, r.batch.Revert = r.batch.Rows[:0], nil
	t.requests.Put(r)
}

// client reads what the request says of the browser behind it.
func (t *Tracker) client(ctx *fasthttp.RequestCtx) Client {
	h := &ctx.Request.Header
	purpose := h.Peek("Sec-Purpose")
	for _, name := range []string{"Purpose", "X-Purpose", "X-Moz"} {
		if len(purpose) == 0 {
			purpose = h.Peek(name)
		}
	}
	return Client{
		Addr:      t.ClientAddr(ctx),
		UserAgent: string(h.UserAgent()),
		Language:  string(h.Peek("Accept-Language")),
		Purpose:   string(purpose),
		Bare:      isBare(h),
		Hints:     readHints(h),
	}
}

// accept answers a hit that is dropped on purpose.
func (t *Tracker) accept(ctx *fasthttp.RequestCtx, reason Reason) {
	t.outcomes[reason].Add(1)
	if asksForReceipt(ctx) {
		answerRefused(ctx, reason)
		return
	}
	accepted(ctx)
}

func accepted(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(fasthttp.StatusAccepted)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("ok")
}

// refuse answers an event that cannot be read.
func (t *Tracker) refuse(ctx *fasthttp.RequestCtx, err error) {
	t.outcomes[Malformed].Add(1)
	status := fasthttp.StatusBadRequest
	if err == errToken {
		status = fasthttp.StatusUnauthorized
	}
	answerError(ctx, status, err.Error())
}

// overloaded answers an event that could not be stored.
func (t *Tracker) overloaded(ctx *fasthttp.RequestCtx) {
	t.outcomes[Overloaded].Add(1)
	ctx.Response.Header.Set("Retry-After", retryAfter)
	answerError(ctx, fasthttp.StatusServiceUnavailable, errOverloaded.Error())
}

func answerError(ctx *fasthttp.RequestCtx, status int, text string) {
	body, err := json.Marshal(map[string]string{"error": text})
	if err != nil {
		panic(fmt.Sprintf("BUG: encode error: %v", err)) // a map of strings
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json; charset=utf-8")
	ctx.SetBody(body)
}

// serveScript hands out the script: the same bytes and headers to everyone, and no validator by which a browser
// could be recognised.
func serveScript(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("Cache-Control", scriptCache)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	ctx.SetContentType("text/javascript; charset=utf-8")
	switch {
	case ctx.Request.Header.HasAcceptEncoding("br"):
		h.Set("Content-Encoding", "br")
		ctx.SetBody(script.Brotli())
	case ctx.Request.Header.HasAcceptEncoding("gzip"):
		h.Set("Content-Encoding", "gzip")
		ctx.SetBody(script.Gzip())
	default:
		ctx.SetBody(script.Bytes())
	}
}

// serveHealth answers 200 when hits can be counted.
func (t *Tracker) serveHealth(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetContentType("text/plain; charset=utf-8")
	if err := t.store.Health(); err != nil {
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		text := "cannot store hits; see the log\n"
		if errors.Is(err, storage.ErrClosed) {
			text = "stopping\n"
		}
		ctx.SetBodyString(text)
		return
	}
	ctx.SetBodyString("ok\n")
}
