package tracker

import (
	"net/url"
	"slices"
	"strings"
)

const (
	// maxKept is how many parameters of a query become part of a path. Each multiplies the number of pages that a report
	// has to show.
	maxKept = 5
	// maxKeptValue is the longest value of such a parameter, in bytes: enough for an article's name, or words of a search. What is
	// longer is cut.
	maxKeptValue = 100
)

// keptQuery returns the parameters of a query that the site's owner wants to be part of the path, in the order of the
// owner's list, so that a page has one spelling. Of repeated ones the first counts; those without a value, and the click ids
// of advertising networks, never do. What points to a person is replaced.
func keptQuery(query string, keep []string, n *Replaced) string {
	var out strings.Builder
	kept := 0
	for i, name := range keep {
		if kept == maxKept {
			break
		}
		if isClickID(name) || slices.Contains(keep[:i], name) {
			continue
		}
		value := cleanParameter(parameter(query, name), maxKeptValue, n)
		if value == "" {
			continue
		}
		if kept > 0 {
			out.WriteByte('&')
		}
		kept++
		writeParameter(&out, name)
		out.WriteByte('=')
		writeParameter(&out, value)
	}
	return out.String()
}

// isClickID tells whether a parameter holds a number that an advertising network gave to one click of one person.
func isClickID(name string) bool {
	switch name {
	case "fbclid", "igshid", "dclid", "epik", "mc_eid", "_hsenc", "_hsmi", "vero_id", "mkt_tok", "oly_anon_id", "oly_enc_id", "wickedid", "srsltid":
		return true
	}
	return clickNetwork(name) != ""
}

// parameter returns the value of the first parameter with a name that has one, as it is written.
func parameter(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		if key != name && strings.ContainsAny(key, "%+") {
			if decoded, err := url.QueryUnescape(key); err == nil {
				key = decoded
			}
		}
		if key == name {
			return value
		}
	}
	return ""
}

// cleanParameter decodes the value of a parameter, replaces what points to a person, and cuts it to max bytes: in this order,
// since half an e-mail address would not be known for one.
func cleanParameter(value string, max int, n *Replaced) string {
	if strings.ContainsAny(value, "%+") {
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
	}
	value = redact(oneLine(value), n)
	if len(value) > max {
		value = redact(oneLine(truncate(value, max)), n)
	}
	return value
}

// writeParameter escapes what has a meaning in a query or a path, and nothing else: it is to be read by people.
func writeParameter(out *strings.Builder, s string) {
	for i := range len(s) {
		switch c := s[i]; c {
		case '%', '&', '=', '+', '#', '?':
			out.WriteByte('%')
			out.WriteByte(upperHex[c>>4])
			out.WriteByte(upperHex[c&15])
		default:
			out.WriteByte(c)
		}
	}
}
