// Package bot tells the user agents of programs from those of people's browsers, by what programs say of themselves.
package bot

import (
	_ "embed"
	"strings"

	"zgo.at/isbot"
)

//go:generate go run ./gencrawlers

// crawlers are parts of the user agents that Known does not know, in lower case, one in a line: of a list of crawlers that is
// kept by many (see gencrawlers).
//
//go:embed crawlers.txt
var crawlers string

// programs are parts of user agents of programs that the list of zgo.at/isbot lacks, in lower case: libraries, headless
// browsers, monitors, previews of messengers, feed readers.
var programs = []string{
	"headless", "phantomjs", "puppeteer", "playwright", "selenium", "electronbot", "lighthouse", "ptst/", "gtmetrix", "pingdom",
	"uptime", "statuscake", "site24x7", "monitor", "prerender", "rendertron", "w3c_validator", "validator",
	"curl/", "wget", "libcurl", "lwp::", "python", "aiohttp", "httpx", "scrapy", "mechanize", "perl/", "php/", "guzzle", "symfony",
	"go-http-client", "okhttp", "axios", "node-fetch", "undici", "got (", "superagent", "apache-httpclient", "jakarta", "java/", "dalvik/",
	"httpie", "postman", "insomnia", "restsharp", "powershell", "winhttp", "urlgrabber", "ruby", "faraday", "typhoeus", "dart/", "reqwest",
	"whatsapp/", "telegrambot", "facebookexternalhit", "facebookcatalog", "meta-external", "embedly", "skypeuripreview", "slack-img", "preview",
	"slurp", "ia_archiver", "archive.org", "heritrix", "nutch", "yandeximages", "mediapartners", "feedfetcher", "appengine-google", "google-read-aloud",
	"chatgpt-user", "gptbot", "claude-web", "claude-user", "perplexity-user", "bytespider", "ccbot", "cohere-ai",
	"feed", "rss", "newsblur", "tiny tiny", "liferea", "netnewswire", "reeder/", "akregator", "winhttrack", "httrack", "teleport", "offline explorer",
	"scanner", "nikto", "sqlmap", "nmap", "masscan", "zgrab", "fuzz", "check_http", "probe", "fetch", "crawl", "spider", "scrape", "bot/", "bot;", "robot",
	"cfnetwork/", "indy library", "xenu", "@",
}

// Is tells whether a user agent is that of a program. An empty one is. It looks for some three hundred names, which takes
// more time than all the rest of a hit: whoever asks for each hit looks first whether it is a browser that many people have.
func Is(userAgent string) bool {
	if Known(userAgent) {
		return true
	}
	lower := strings.ToLower(userAgent)
	for rest := crawlers; rest != ""; {
		var part string
		if part, rest, _ = strings.Cut(rest, "\n"); strings.Contains(lower, part) {
			return true
		}
	}
	return false
}

// Known is Is without the names of crawlers.txt, which is made of what Known misses.
func Known(userAgent string) bool {
	result := isbot.UserAgent(userAgent)
	if result == isbot.NoBotKnown {
		return false
	}
	if isbot.Is(result) {
		return true
	}
	lower := strings.ToLower(userAgent)
	// Only Internet Explorer and its like were ever compatible; today programs are.
	if strings.Contains(lower, "compatible;") && !strings.Contains(lower, "msie") && !strings.Contains(lower, "konqueror") {
		return true
	}
	for _, part := range programs {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}
