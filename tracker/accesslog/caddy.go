package accesslog

import (
	"math"
	"time"

	"github.com/valyala/fastjson"
)

// caddyParser reads Caddy's JSON. It reuses its memory from line to line.
type caddyParser struct{ json fastjson.Parser }

// caddyTimes are the layouts of the encoder's time_format that are text and say their zone, or are in UTC by
// their documentation.
var caddyTimes = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.000Z0700", "2006/01/02 15:04:05",
	clfTime,
}

func (c *caddyParser) parse(line []byte) (q Request, why cause) {
	v, err := c.json.ParseBytes(line)
	if err != nil {
		return q, causeLayout
	}
	request := v.Get("request")
	if request == nil {
		// Filters of the encoder can lift the fields of the request out of it.
		request = v
	}
	if request.Type() != fastjson.TypeObject || !request.Exists("uri") && !request.Exists("method") {
		return q, causeLayout
	}
	if !setCaddyAddr(&q, request) {
		return q, causeAddress
	}
	if q.Time, why = caddyTime(v.Get("ts")); why != causeNone {
		return q, why
	}
	if q.Status = v.GetInt("status"); q.Status < 100 || q.Status > 999 {
		return q, causeStatus
	}
	q.Method, q.Target = jsonText(request.Get("method")), jsonText(request.Get("uri"))
	q.Host = cleanHost(jsonText(request.Get("host")))
	q.setHeaders(request.Get("headers"))
	q.ContentType = header(v.Get("resp_headers"), "Content-Type")
	return q, causeNone
}

// setCaddyAddr prefers client_ip, which Caddy has derived from its trusted proxies; old versions have remote_addr.
func setCaddyAddr(q *Request, request *fastjson.Value) (ok bool) {
	for _, key := range []string{"client_ip", "remote_ip", "remote_addr"} {
		if q.Addr, ok = parseAddr(jsonText(request.Get(key))); ok {
			return true
		}
	}
	return false
}

// caddyTime reads seconds since 1970 or, by size, milliseconds or nanoseconds; or text.
func caddyTime(v *fastjson.Value) (time.Time, cause) {
	if v != nil && v.Type() == fastjson.TypeString {
		for _, layout := range caddyTimes {
			if t, err := time.Parse(layout, jsonText(v)); err == nil {
				return t, causeNone
			}
		}
		return time.Time{}, causeTime
	}
	if v == nil || v.Type() != fastjson.TypeNumber {
		return time.Time{}, causeTime
	}
	s := v.GetFloat64()
	switch {
	case s >= 1e17:
		s /= 1e9
	case s >= 1e11:
		s /= 1e3
	}
	if !(s > 0 && s < 1e11) {
		return time.Time{}, causeTime
	}
	whole, part := math.Modf(s)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), causeNone
}

func (q *Request) setHeaders(h *fastjson.Value) {
	q.UserAgent, q.AgentKnown = header(h, "User-Agent"), true
	q.Referrer = header(h, "Referer")
	q.Language = header(h, "Accept-Language")
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if q.Purpose == "" {
			q.Purpose = header(h, name)
		}
	}
	q.GPC = header(h, "Sec-Gpc") == "1" || header(h, "Sec-GPC") == "1"
	q.DNT = header(h, "Dnt") == "1" || header(h, "DNT") == "1"
}

// header returns the first value of a header; Caddy writes lists, filters may have made it a string.
func header(h *fastjson.Value, name string) string {
	v := h.Get(name)
	if v != nil && v.Type() == fastjson.TypeArray {
		v = v.Get("0")
	}
	return jsonText(v)
}

func jsonText(v *fastjson.Value) string {
	if v == nil || v.Type() != fastjson.TypeString {
		return ""
	}
	return text(v.GetStringBytes())
}
