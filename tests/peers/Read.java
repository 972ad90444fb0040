// Reads lines as a server on the Java SDK does (BufferedReader and Jackson), and writes what each is to it, like read.py.
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Map;

class Read {
    public static void main(String[] words) throws Exception {
        var mapper = new ObjectMapper();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ArrayList<Object> seen = null;
            try {
                Map<?, ?> message = mapper.readValue(line, Map.class);
                if (message.get("method") instanceof String method) {
                    seen = new ArrayList<>();
                    seen.add(method);
                    seen.add(message.get("id"));
                    Map<?, ?> params = message.get("params") instanceof Map<?, ?> object ? object : Map.of();
                    for (var name : new String[] {"name", "uri", "taskId", "requestId"}) {
                        var value = params.get(name);
                        seen.add(value instanceof String || value instanceof Number ? value : null);
                    }
                }
            } catch (com.fasterxml.jackson.core.JacksonException refused) {
                seen = null;
            }
            out.println(mapper.writeValueAsString(seen));
        }
    }
}
