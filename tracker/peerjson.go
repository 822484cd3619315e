package tracker

import (
	"errors"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

// parseJSON parses a body that is not nested too deep. The value lives until p is used again.
func parseJSON(p *fastjson.Parser, body []byte) (*fastjson.Value, error) {
	if tooDeep(body) {
		return nil, fieldError("", "is nested more than %d levels deep", maxDepth)
	}
	v, err := p.ParseBytes(body)
	if err != nil {
		return nil, fieldError("", "is not JSON")
	}
	return v, nil
}

// parseArray parses a body that is an array of hits.
func parseArray(p *fastjson.Parser, body []byte) ([]*fastjson.Value, error) {
	v, err := parseJSON(p, body)
	if err != nil {
		return nil, err
	}
	if v.Type() != fastjson.TypeArray {
		return nil, fieldError("", "is %s; want an array of hits", article(v.Type()))
	}
	return v.GetArray(), checkBulk(len(v.GetArray()))
}

// arrayLen returns how many elements a body has that is an array, or the member of it under keys; 0 if it has none.
func arrayLen(p *fastjson.Parser, body []byte, keys ...string) int {
	v, err := parseJSON(p, body)
	if err != nil {
		return 0
	}
	return len(v.GetArray(keys...))
}

// optionalText returns the text of a member, "" if it is missing or null.
func optionalText(v *fastjson.Value, name string) (string, error) {
	f := field(v, name)
	if f == nil {
		return "", nil
	}
	s, ok := text(f)
	if !ok {
		return "", fieldError(name, "is %s; want a string", article(f.Type()))
	}
	return strings.TrimSpace(s), nil
}

// wrongStatus is the status that a hit of several would have been answered with alone.
func wrongStatus(err error) int {
	if errors.Is(err, errOverloaded) {
		return fasthttp.StatusServiceUnavailable
	}
	return fasthttp.StatusBadRequest
}
