package accesslog

import (
	"path"
	"strings"
)

// Verdict says whether a request showed a page to somebody, as far as the request itself tells.
type Verdict uint8

// The verdicts, in the order in which they are looked at.
const (
	Page      Verdict = iota
	NotGet            // another method than GET, or no request at all
	NotServed         // no page was shown: errors, redirects, parts of files
	Asset             // a part of a page, a download, a feed, or a file for programs
)

// Judge compares the request with what a tag on the page would have counted: HTML documents that a browser
// showed. 304 is one of them, since the browser shows the copy that it has; 204, 205 and 206 are none.
func (q *Request) Judge() Verdict {
	switch {
	case q.Method != "GET":
		return NotGet
	case !served(q.Status):
		return NotServed
	case q.isAsset():
		return Asset
	}
	return Page
}

func served(status int) bool {
	switch status {
	case 204, 205, 206:
		return false
	case 304:
		return true
	}
	return status >= 200 && status < 300
}

func (q *Request) isAsset() bool {
	if q.ContentType != "" {
		media, _, _ := strings.Cut(strings.ToLower(q.ContentType), ";")
		media = strings.TrimSpace(media)
		return media != "text/html" && media != "application/xhtml+xml"
	}
	target, _, _ := strings.Cut(q.Target, "#")
	p, query, _ := strings.Cut(target, "?")
	p = strings.ToLower(p)
	if hasAssetExtension(p) || isFeedQuery(query) {
		return true
	}
	return isMachinePath(p)
}

// assetExtensions are those of files that are not HTML documents. Source code is among them: where it is run,
// the extension is one of php, asp, aspx, jsp, cgi, pl, cfm and so on, which are not.
var assetExtensions = makeSet(`
	css js mjs cjs ts map wasm json jsonld json5 webmanifest manifest appcache
	png jpg jpeg jpe gif svg svgz ico cur bmp tif tiff webp avif apng jxl heic heif psd ai eps
	woff woff2 ttf otf eot
	mp3 m4a ogg oga opus wav flac aac mid mp4 m4v webm ogv avi mov wmv mkv mpg mpeg flv swf m3u8 mpd vtt srt
	xml rss atom rdf xsl xslt dtd xsd opml ics vcf kml gpx txt text csv tsv md markdown log yaml yml toml ini conf cfg lock
	pdf ps doc docx xls xlsx ppt pptx odt ods odp rtf epub mobi azw3 tex dvi
	zip gz tgz bz2 tbz xz txz zst 7z rar tar lz lzma jar war gem whl deb rpm apk ipa dmg pkg msi exe iso img bin dat
	torrent asc sig pem crt cer der p7s sha1 sha256 sha512 md5
	c h cc cpp cxx hpp go rs java class py pyc rb lua sh bash bat ps1 sql patch diff m4 mk spec vim pcap xs swift kt scss less sass vue
	bak old orig swp tmp db sqlite`)

func makeSet(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

func hasAssetExtension(p string) bool {
	ext := path.Ext(p)
	return ext != "" && assetExtensions[ext[1:]]
}

// isFeedQuery recognises feeds that are a page's address with a parameter, such as ?feed=rss2 or ?flav=atom.
// Browsers with live bookmarks poll them under the user agent of a person.
func isFeedQuery(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(strings.ToLower(pair), "=")
		switch key {
		case "feed", "flav", "flavour", "format", "type", "output", "alt":
			switch strings.TrimRight(value, ".0123456789") {
			case "rss", "atom", "rdf", "feed", "json", "xml":
				return true
			}
		}
	}
	return false
}

// isMachinePath recognises well-known addresses without extension that programs fetch: feeds, .well-known
// (RFC 8615), and the interfaces of content systems and of versioned APIs.
func isMachinePath(p string) bool {
	if strings.HasPrefix(p, "/.well-known/") {
		return true
	}
	segments := strings.Split(strings.Trim(p, "/"), "/")
	last := len(segments) - 1
	switch segments[last] {
	case "feed", "xmlrpc.php", "wp-cron.php", "admin-ajax.php":
		return true
	case "rss", "rss2", "atom", "rdf", "graphql", "server-status":
		// Further down they are as likely the page of a tag of that name.
		if last == 0 || segments[last-1] == "feed" {
			return true
		}
	}
	for i, s := range segments {
		if s == "wp-json" || s == "api" && i+1 < len(segments) && isVersion(segments[i+1]) {
			return true
		}
	}
	return false
}

// isVersion tells whether s is v and digits.
func isVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && strings.Trim(s[1:], "0123456789.") == ""
}
