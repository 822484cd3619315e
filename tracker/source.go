package tracker

import (
	_ "embed"
	"strings"
	"unicode"

	"dachs/storage"
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

// clickNetwork returns the network whose click id a parameter is, "" if it is none. Only networks that add it to paid clicks
// are named; fbclid and igshid are on unpaid ones too and say nothing.
func clickNetwork(parameter string) string {
	switch parameter {
	case "gclid", "gbraid", "wbraid":
		return "google"
	case "msclkid":
		return "bing"
	case "twclid":
		return "twitter"
	case "ttclid":
		return "tiktok"
	case "li_fat_id":
		return "linkedin"
	case "rdt_cid":
		return "reddit"
	case "ScCid":
		return "snapchat"
	case "yclid":
		return "yandex"
	}
	return ""
}

func readTags(query string, n *Replaced) tags {
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
			setTag(&t.utmSource, value, n)
		case "utm_medium":
			setTag(&t.utmMedium, value, n)
		case "utm_campaign":
			setTag(&t.utmCampaign, value, n)
		case "utm_term":
			setTag(&t.utmTerm, value, n)
		case "utm_content":
			setTag(&t.utmContent, value, n)
		case "source":
			setTag(&t.source, value, n)
		case "ref":
			setTag(&ref, value, n)
		default:
			if network := clickNetwork(key); network != "" {
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
func setTag(tag *string, value string, n *Replaced) {
	if *tag == "" {
		*tag = strings.Clone(cleanParameter(value, maxTag, n))
	}
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

// originOf says where a visit to page came from, by the tags in the page's query first and by the referrer else. A link from
// the site itself is no referral.
func originOf(page address, referrer string, site *storage.Site, n *Replaced) Origin {
	t := readTags(page.query, n)
	o := Origin{
		UTMSource: t.utmSource, UTMMedium: t.utmMedium, UTMCampaign: t.utmCampaign,
		UTMTerm: t.utmTerm, UTMContent: t.utmContent,
	}
	from, referred := splitURL(referrer)
	if referred = referred && from.host != page.host && !isOwnHost(from.host, site); referred {
		from.host = strings.Clone(redact(from.host, n))
		o.Referrer = from.host + strings.TrimSuffix(cleanPath(from.path, n), "/")
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

// isOwnHost tells whether a host is one of a site's: its domain, an alias, or what its owner lists as hosts of its pages.
func isOwnHost(host string, site *storage.Site) bool {
	if host == bareHost(site.Domain) {
		return true
	}
	for _, alias := range site.Settings.Aliases {
		if host == bareHost(alias) {
			return true
		}
	}
	for _, pattern := range site.Settings.Hosts {
		if below, wild := strings.CutPrefix(pattern, "*."); wild && len(host) > len(below) && strings.HasSuffix(host, below) && host[len(host)-len(below)-1] == '.' {
			return true
		} else if !wild && host == bareHost(pattern) {
			return true
		}
	}
	return false
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
