package tracker

import (
	_ "embed"
	"net/url"
	"strings"
	"unicode"
)

//go:generate go run ./data/gensources -dir data

// sourceTable lists hosts and names of sources, one in a line with category and name to show, sorted by key.
// It is searched as it is: a map of it would cost heap for good.
//
//go:embed data/sources.txt
var sourceTable string

// maxTag is the longest utm_* value that is counted, in bytes. What is longer is cut.
const maxTag = 200

// tags are what the page's query may say of a visit's origin. Everything else in a query is dropped.
type tags struct {
	source                           string // of ?source= or ?ref=
	utmSource, utmMedium             string
	utmCampaign, utmTerm, utmContent string
	// clickSource is the advertising network whose click id the address carries. The id itself is never read.
	clickSource string
}

// clickIDs are the parameters that ad networks add to paid clicks only. (fbclid is on unpaid ones too.)
var clickIDs = map[string]string{"gclid": "google", "gbraid": "google", "wbraid": "google", "msclkid": "bing"}

func readTags(query string) tags {
	var t tags
	var ref string
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		switch key {
		case "utm_source":
			setTag(&t.utmSource, value)
		case "utm_medium":
			setTag(&t.utmMedium, value)
		case "utm_campaign":
			setTag(&t.utmCampaign, value)
		case "utm_term":
			setTag(&t.utmTerm, value)
		case "utm_content":
			setTag(&t.utmContent, value)
		case "source":
			setTag(&t.source, value)
		case "ref":
			setTag(&ref, value)
		default:
			if network, ok := clickIDs[key]; ok {
				t.clickSource = network
			}
		}
	}
	if t.source == "" {
		t.source = ref
	}
	return t
}

// setTag sets a tag that is not set yet: of repeated parameters the first counts. The tag is a copy.
func setTag(tag *string, value string) {
	if *tag != "" {
		return
	}
	if strings.ContainsAny(value, "%+") {
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
	}
	*tag = strings.Clone(redact(truncate(oneLine(value), maxTag)))
}

// oneLine returns s in valid UTF-8, without control characters and outer spaces.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, unicode.IsControl) >= 0 {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, s)
	}
	return strings.TrimSpace(s)
}

// originOf says where a visit to page came from, by the tags in the page's query first and by the referrer else.
func originOf(page address, referrer string) Origin {
	t := readTags(page.query)
	o := Origin{
		UTMSource: t.utmSource, UTMMedium: t.utmMedium, UTMCampaign: t.utmCampaign,
		UTMTerm: t.utmTerm, UTMContent: t.utmContent,
	}
	from, referred := splitURL(referrer)
	if referred = referred && from.host != page.host; referred {
		from.host = strings.Clone(from.host)
		o.Referrer = from.host + strings.TrimSuffix(cleanPath(from.path), "/")
	}
	trail := traffic{medium: t.utmMedium, campaign: t.utmCampaign, paidClick: t.clickSource != ""}
	switch {
	case t.utmSource != "":
		o.Source, trail.category = namedSource(t.utmSource)
	case t.source != "":
		o.Source, trail.category = namedSource(t.source)
		trail.referred = true // somebody's link, not a campaign
	case referred:
		o.Source, trail.category = hostSource(from.host)
		trail.referred = true
	case t.clickSource != "":
		o.Source, trail.category = namedSource(t.clickSource)
	}
	trail.source = o.Source
	o.Channel = channel(trail)
	return o
}

// namedSource returns the name to show and the category for the value of utm_source, source or ref.
func namedSource(value string) (name, category string) {
	key := strings.ToLower(value)
	if name, category, ok := lookupSource(key); ok {
		return name, category
	}
	if a, ok := splitURL(key); ok {
		return hostSource(a.host)
	}
	if strings.Contains(key, ".") {
		if host, ok := cleanHost(key); ok {
			if name, category = hostSource(host); name != host {
				return name, category
			}
		}
	}
	return value, ""
}

// hostSource returns the name to show and the category for a referring host: those of the host, or those of the
// nearest domain above it that is known. Below a search engine's domain there is much that is no search (a
// provider's mail, documents, maps), so its category passes only to its language and mobile versions.
func hostSource(host string) (name, category string) {
	narrow := true // only such labels were cut as do not change what a page is
	for domain := host; strings.Contains(domain, "."); {
		name, category, ok := lookupSource(domain)
		if !ok {
			name, category, ok = nationalSource(domain)
		}
		if ok {
			if !narrow && category != "social" && category != "shopping" && category != "ai" {
				category = ""
			}
			return name, category
		}
		label, rest, _ := strings.Cut(domain, ".")
		narrow = narrow && (len(label) <= 2 || label == "amp" || label == "mobile" || label == "web" || label == "search")
		domain = rest
	}
	return host, ""
}

// nationalSource finds brands that have a domain in every country, for the countries that the table lacks.
func nationalSource(domain string) (name, category string, ok bool) {
	brand, suffix, _ := strings.Cut(domain, ".")
	switch brand {
	case "google", "yandex", "amazon", "ebay", "pinterest":
	default:
		return "", "", false
	}
	suffix = strings.TrimPrefix(strings.TrimPrefix(suffix, "com."), "co.")
	if len(suffix) != 2 {
		return "", "", false
	}
	return lookupSource(brand)
}

// lookupSource finds the line of key in sourceTable by binary search over its bytes.
func lookupSource(key string) (name, category string, ok bool) {
	low, high := 0, len(sourceTable) // both at the start of a line
	for low < high {
		start := low + (high-low)/2
		start = low + strings.LastIndexByte(sourceTable[low:start], '\n') + 1
		end := start + strings.IndexByte(sourceTable[start:], '\n')
		found, rest, _ := strings.Cut(sourceTable[start:end], "\t")
		switch strings.Compare(key, found) {
		case 0:
			category, name, _ = strings.Cut(rest, "\t")
			return name, category, true
		case -1:
			high = start
		case 1:
			low = end + 1
		}
	}
	return "", "", false
}
