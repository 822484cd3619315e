package tracker

import (
	"encoding/json"
	"fmt"
	"time"

	"dachs/storage"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

// umamiHeaders are what Umami's script sends: the second from its second hit on, with what the first answer held.
const umamiHeaders = "content-type, x-umami-cache"

// umamiAccepted is the answer to a hit. Umami gives its clients a token that names the visitor; here it is empty for all.
const umamiAccepted = `{"cache":"","sessionId":"","visitId":""}`

// serveUmami counts a hit in the format of Umami's POST /api/send.
func (t *Tracker) serveUmami(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.outcomes[why].Add(1)
		answerJSON(ctx, fasthttp.StatusOK, umamiAccepted)
		return
	}
	r := t.request()
	defer t.release(r)
	parser := t.parsers.Get()
	defer t.parsers.Put(parser)
	v, err := parseJSON(parser, ctx.PostBody())
	if err == nil {
		err = decodeUmami(v, t.homeOf, &r.payload, &r.said)
	}
	if err == nil {
		r.said.secret = bearer(ctx)
		err = t.takeSaid(ctx, r)
	}
	if err != nil {
		t.refuseUmami(ctx, err)
		return
	}
	answerJSON(ctx, fasthttp.StatusOK, umamiAccepted)
}

// serveUmamiBatch counts an array of the same.
func (t *Tracker) serveUmamiBatch(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	parser := t.parsers.Get()
	defer t.parsers.Put(parser)
	if why := objection(&ctx.Request.Header); why != Accepted {
		t.outcomes[why].Add(1)
		answerUmamiBatch(ctx, bulk{size: arrayLen(parser, ctx.PostBody())}) // looks at nothing but how long the answer is
		return
	}
	r := t.request()
	defer t.release(r)
	hits, err := parseArray(parser, ctx.PostBody())
	var result bulk
	if err == nil {
		secret := bearer(ctx)
		result, err = t.takeBulk(ctx, r, len(hits), func(i int) error {
			if err := decodeUmami(hits[i], t.homeOf, &r.payload, &r.said); err != nil {
				return err
			}
			r.said.secret = secret
			return nil
		})
	}
	if err != nil {
		t.refuseUmami(ctx, err)
		return
	}
	answerUmamiBatch(ctx, result)
}

// umamiFailure is an error as Umami's clients read it.
type umamiFailure struct {
	Error struct {
		Message string `json:"message"`
		Code    string `json:"code"`
		Status  int    `json:"status"`
	} `json:"error"`
}

func umamiError(status int, err error) umamiFailure {
	var f umamiFailure
	f.Error.Message, f.Error.Status, f.Error.Code = err.Error(), status, "bad-request"
	if status != fasthttp.StatusBadRequest {
		f.Error.Code = "server-error"
	}
	return f
}

func (t *Tracker) refuseUmami(ctx *fasthttp.RequestCtx, err error) {
	status := t.statusOf(ctx, err)
	answerJSON(ctx, status, encode(umamiError(status, err)))
}

func answerUmamiBatch(ctx *fasthttp.RequestCtx, result bulk) {
	type detail struct {
		Index    int          `json:"index"`
		Response umamiFailure `json:"response"`
	}
	details := []detail{}
	for _, w := range result.wrong {
		details = append(details, detail{w.index, umamiError(wrongStatus(w.err), w.err)})
	}
	answerJSON(ctx, fasthttp.StatusOK, encode(struct {
		Size      int      `json:"size"`
		Processed int      `json:"processed"`
		Errors    int      `json:"errors"`
		Details   []detail `json:"details"`
		Cache     string   `json:"cache"`
	}{result.size, result.size - len(details), len(details), details, ""}))
}

// decodeUmami reads one hit: {"type": "event", "payload": {...}}. home gives the host of a page by the name of its site.
// Errors are *FieldError.
func decodeUmami(v *fastjson.Value, home func(site string) string, out *Payload, s *said) (err error) {
	*out, *s = Payload{Name: storage.PageViewName, Interactive: true, Scroll: -1}, said{}
	kind, err := optionalText(v, "type")
	if err != nil {
		return err
	}
	p := field(v, "payload")
	if p == nil || p.Type() != fastjson.TypeObject {
		return fieldError("payload", "is missing or no object; want {\"type\":\"event\",\"payload\":{\"website\":...}}")
	}
	switch kind {
	case "event", "engagement":
	case "identify", "performance", "error":
		s.skip = NoHit
	default:
		return fieldError("type", "is missing or unknown; want event")
	}
	site, err := optionalText(p, "website")
	if err != nil {
		return err
	}
	if out.Domain, err = checkSite("website", site); err != nil || s.skip != Accepted {
		return err
	}
	if err := decodeUmamiPage(p, home, out); err != nil {
		return err
	}
	if err := decodeUmamiClient(p, out, s); err != nil {
		return err
	}
	if kind == "engagement" {
		return decodeUmamiEngagement(p, out)
	}
	return decodeUmamiEvent(p, out)
}

// decodeUmamiPage reads where the hit happened. url and referrer may be full addresses or paths.
func decodeUmamiPage(p *fastjson.Value, home func(site string) string, out *Payload) error {
	host, err := optionalText(p, "hostname")
	if err != nil {
		return err
	}
	if host == "" {
		host = home(out.Domain)
	} else if _, ok := cleanHost(host); !ok {
		return fieldError("hostname", "is not the name of a host")
	}
	page, err := optionalText(p, "url")
	if err != nil {
		return err
	}
	if _, ok := splitURL(page); !ok {
		if hasScheme(page) {
			return fieldError("url", "is not the address of a web page; want one such as https://example.com/path or /path")
		}
		page = onHost(host, page)
	}
	if out.URL, err = checkURL("url", page); err != nil {
		return err
	}
	referrer, err := optionalText(p, "referrer")
	out.Referrer = truncate(referrer, maxReferrer)
	return err
}

func decodeUmamiClient(p *fastjson.Value, out *Payload, s *said) (err error) {
	var screen string
	for _, f := range []struct {
		name string
		to   *string
	}{{"language", &out.Language}, {"screen", &screen}, {"ip", &s.addr}, {"userAgent", &s.userAgent}} {
		if *f.to, err = optionalText(p, f.name); err != nil {
			return err
		}
	}
	out.Width = widthOf(screen)
	if at := field(p, "timestamp"); at != nil {
		seconds, ok := integer(at)
		if !ok {
			return fieldError("timestamp", "is %s; want seconds since 1970", article(at.Type()))
		}
		s.at = time.Unix(seconds, 0)
	}
	return nil
}

func decodeUmamiEngagement(p *fastjson.Value, out *Payload) error {
	ms, ok := optionalInteger(p, "engagement")
	if !ok || ms < 0 || ms >= maxEngaged {
		return fieldError("engagement", "is missing or out of range; want milliseconds")
	}
	out.Name, out.Engaged = engagementName, ms
	return nil
}

// decodeUmamiEvent reads what a custom event has; without a name the hit is a page view.
func decodeUmamiEvent(p *fastjson.Value, out *Payload) error {
	name, err := optionalText(p, "name")
	if err != nil || name == "" {
		return err
	}
	if out.Name, err = eventName("name", name); err != nil {
		return err
	}
	data := field(p, "data")
	if data != nil && data.Type() == fastjson.TypeObject {
		currency, _ := optionalText(data, "currency")
		if amount := field(data, "revenue"); amount != nil {
			out.Revenue = money(decimalText(amount), currency)
		}
		if out.Revenue.Currency != "" {
			data.Del("revenue")
			data.Del("currency")
		}
		flatten(data, "", out)
	}
	tag, err := optionalText(p, "tag")
	addProp(out, "tag", tag)
	return err
}

// flatten adds the properties of an object, those of objects in it with the names on the way to them, joined by dots. Lists
// are kept as they are written.
func flatten(v *fastjson.Value, prefix string, out *Payload) {
	object, err := v.Object()
	if err != nil {
		return
	}
	object.Visit(func(key []byte, value *fastjson.Value) {
		name := prefix + string(key)
		if len(name) > maxPropKey || len(out.Props) >= maxProps {
			return
		}
		switch value.Type() {
		case fastjson.TypeObject:
			flatten(value, name+".", out)
		case fastjson.TypeString:
			s, _ := text(value)
			addProp(out, name, s)
		case fastjson.TypeNull:
		default:
			addProp(out, name, string(value.MarshalTo(nil)))
		}
	})
}

// hasScheme tells whether s begins like a full address, of whatever scheme.
func hasScheme(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case ':':
			return i > 0
		case '/', '?', '#':
			return false
		}
	}
	return false
}

// encode writes an answer as JSON.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode answer: %v", err)) // structs of texts and numbers
	}
	return string(b)
}

func answerJSON(ctx *fasthttp.RequestCtx, status int, body string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json; charset=utf-8")
	ctx.SetBodyString(body)
}
