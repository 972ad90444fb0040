// Reads lines as a server with Go's encoding/json does, and writes what each is to it, like read.py.
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
)

type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      any             `json:"id"`
	Method  *string         `json:"method"`
	Params  json.RawMessage `json:"params"`
}

type params struct {
	Name      any `json:"name"`
	URI       any `json:"uri"`
	TaskID    any `json:"taskId"`
	RequestID any `json:"requestId"`
}

func main() {
	in, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		var read message
		var inside params
		if json.Unmarshal(line, &read) != nil || read.Method == nil {
			out.Encode(nil)
			continue
		}
		if len(read.Params) > 0 {
			// What is no object has none of these.
			_ = json.Unmarshal(read.Params, &inside)
		}
		seen := []any{*read.Method, read.ID}
		for _, value := range []any{inside.Name, inside.URI, inside.TaskID, inside.RequestID} {
			switch value.(type) {
			case string, float64:
				seen = append(seen, value)
			default:
				seen = append(seen, nil)
			}
		}
		out.Encode(seen)
	}
}
